// Package bytesize writes numbers of bytes for people.
package bytesize

import "fmt"

// Text is n in binary units with one digit behind the point: "512 B", "1.5 KiB".
func Text(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}
