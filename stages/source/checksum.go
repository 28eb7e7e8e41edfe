package source

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

var errChecksum = errors.New("a checksum is TYPE:HEX with md5, sha1, sha256 or sha512")

// parseChecksum reads TYPE:HEX, or HEX alone, whose length tells the type.
func parseChecksum(s string) (hash.Hash, []byte, error) {
	kind, value, ok := strings.Cut(s, ":")
	if !ok {
		kind, value = "", s
	}
	want, err := hex.DecodeString(value)
	if err != nil {
		return nil, nil, errChecksum
	}
	for _, k := range []struct {
		name string
		hash hash.Hash
	}{{"md5", md5.New()}, {"sha1", sha1.New()}, {"sha256", sha256.New()}, {"sha512", sha512.New()}} {
		if (kind == k.name || kind == "") && len(want) == k.hash.Size() {
			return k.hash, want, nil
		}
	}
	return nil, nil, errChecksum
}

// check compares a sum that is complete.
func check(h hash.Hash, want []byte) error {
	if got := h.Sum(nil); string(got) != string(want) {
		return fmt.Errorf("its checksum is %x, and should be %x", got, want)
	}
	return nil
}
