package rootfs

import (
	"io/fs"
	"slices"
	"strings"
)

func sortByName(list []fs.DirEntry) {
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
}
