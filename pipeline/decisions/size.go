package decisions

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as Kubernetes writes quantities of storage:
// 20Gi, 500M, 1073741824.
type Size int64

// UnmarshalText reads a whole number with an optional suffix.
func (s *Size) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(string(text), "KMGTPEkmi")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no size such as 20Gi", text)
	}
	factor, known := map[string]int64{
		"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
		"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50,
	}[string(text)[len(digits):]]
	if !known {
		return fmt.Errorf("%q: unknown suffix %q (Ki, Mi, Gi, Ti, k, M, G, T)", text, string(text)[len(digits):])
	}
	if n > math.MaxInt64/factor {
		return fmt.Errorf("%q is too large", text)
	}
	*s = Size(n * factor)
	return nil
}
