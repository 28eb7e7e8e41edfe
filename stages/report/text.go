package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// functions are what the templates call.
func functions() map[string]any {
	return map[string]any{
		"bytes":    bytesize.Text,
		"count":    countText,
		"percent":  percent,
		"duration": durationText,
		"mode":     func(m uint32) string { return fmt.Sprintf("%04o", m) },
		"join":     func(list []string) string { return strings.Join(list, ", ") },
		"code":     markdownCode,
		"cell":     markdownCell,
		"amount":   amountText,
		"address":  func(url string) string { return strings.TrimPrefix(url, "https://") }, // the report names nothing to load
		"depth":    func(p hostpath.Path) int { return strings.Count(string(p), "/") },
	}
}

// amountText is an amount of a resource of Kubernetes: processors come in
// millicores, memory and storage in bytes, everything else in pieces.
func amountText(resource string, n int64) string {
	switch {
	case resource == "cpu" || strings.HasSuffix(resource, ".cpu"):
		return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64)
	case resource == "memory" || resource == "storage" || strings.HasSuffix(resource, ".memory") || strings.HasSuffix(resource, "storage"):
		return bytesize.Text(n)
	}
	return countText(n)
}

// countText groups the digits of a whole number by thousands.
func countText(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

func percent(part, whole int64) string {
	switch {
	case whole == 0 || part == 0:
		return "0 %"
	case part*1000 < whole:
		return "< 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

func durationText(seconds int64) string {
	switch d := time.Duration(seconds) * time.Second; {
	case d < time.Second:
		return "under a second"
	case d < time.Minute:
		return fmt.Sprintf("%d s", seconds)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", seconds/60, seconds%60)
	}
	return fmt.Sprintf("%d h %d min", seconds/3600, seconds%3600/60)
}

// markdownCode is a code span that no content can close: its fence is longer
// than any run of backticks within (CommonMark 0.31, 6.1).
func markdownCode(v any) string {
	s := fmt.Sprint(v)
	longest, run := 0, 0
	for _, r := range s {
		if r == '`' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	fence := strings.Repeat("`", longest+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + strings.ReplaceAll(s, "|", `\|`) + fence
}

// markdownCell makes prose safe inside a table: no line breaks, bars or markup.
func markdownCell(v any) string {
	return strings.NewReplacer("\n", " ", "|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`).Replace(fmt.Sprint(v))
}
