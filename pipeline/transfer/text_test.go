package transfer

import (
	"errors"
	"strings"
	"testing"
)

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", `a\tb`: "a\tb", `a\nb`: "a\nb", `a\\tb`: `a\tb`, `\0`: "\x00", `end\`: `end\`, `\q`: `\q`, "": "",
	} {
		if got := unescape(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// FuzzUnescape: what a server says is never longer undone than it was said, and
// text without a backslash stays.
func FuzzUnescape(f *testing.F) {
	for _, seed := range []string{"", `\`, `\\`, `\t\n\0`, "tab\t", `x\y`, "\xff\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := unescape(text)
		if len(got) > len(text) || !strings.Contains(text, `\`) && got != text {
			t.Errorf("%q is %q", text, got)
		}
	})
}

// TestDeferred: grants on what a dump makes wait for it.
func TestDeferred(t *testing.T) {
	for statement, want := range map[string]bool{
		"GRANT USAGE ON *.* TO `a`@`%`":                  false,
		"GRANT ALL PRIVILEGES ON `db`.* TO `a`@`%`":      false,
		"GRANT SELECT ON `db`.`t` TO `a`@`%`":            true,
		"GRANT SELECT (`c`) ON `db`.`t` TO `a`@`%`":      true,
		"GRANT EXECUTE ON PROCEDURE `db`.`p` TO `a`@`%`": true,
		"GRANT `role` TO `a`@`%`":                        false,
	} {
		if got := deferred(statement); got != want {
			t.Errorf("%s: %v, want %v", statement, got, want)
		}
	}
}

// TestAs renames an account in its own statements, and nobody else's.
func TestAs(t *testing.T) {
	got := as("GRANT `keepers` TO `a`@`localhost`, 'b'@'localhost'", account{"a", "localhost"}, account{"a", "%"})
	if want := "GRANT `keepers` TO 'a'@'%', 'b'@'localhost'"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestFirstDifference: what is made is named, and nothing else of a line is told.
func TestFirstDifference(t *testing.T) {
	const same = "CREATE TABLE `goods` (\n  `id` int\n);\n"
	for name, tt := range map[string][3]string{
		"none":      {same, same, ""},
		"a column":  {same, strings.ReplaceAll(same, "int", "text"), "definitions differ at line 2, in TABLE `goods`"},
		"more":      {same, same + "x", "definitions differ at line 4, in TABLE `goods`"},
		"less":      {same + "\nx", same, "definitions: less than at the source, after TABLE `goods`"},
		"a setting": {same + `ALTER DATABASE f SET "app.jwt_secret" TO 'hunter2';`, same, "definitions differ at line 4, in DATABASE f"},
		"a connection": {
			"CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2' PUBLICATION p;", "", "definitions differ at line 1, in SUBSCRIPTION s",
		},
		"an account":  {"CREATE USER a IDENTIFIED BY 'hunter2';", "", "definitions differ at line 1, in the beginning"},
		"a routine":   {"CREATE DEFINER=`root`@`localhost` PROCEDURE `fill`(a TEXT) SELECT 'hunter2'", "", "definitions differ at line 1, in PROCEDURE `fill`"},
		"a trigger":   {"/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER noted AFTER INSERT ON goods FOR EACH ROW SET @a = 'hunter2' */;;", "", "definitions differ at line 1, in TRIGGER noted"},
		"a schema":    {`CREATE UNIQUE INDEX "big one" ON public.goods USING btree (id);`, "", `definitions differ at line 1, in INDEX "big one"`},
		"in a string": {"CREATE COMMENT 'TABLE hunter2'", "", "definitions differ at line 1, in the beginning"},
	} {
		if got := firstDifference(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s: %q, want %q", name, got, tt[2])
		}
	}
}

// TestMariaDBFault: what the client says against a statement is told without it.
func TestMariaDBFault(t *testing.T) {
	words := &said{fault: mariadbFault}
	for _, part := range []string{
		"--------------\nINSERT INTO `y` VALUES ('hunter2',1),\n('ERR", "OR 1 hunter2')\n--------------\n\nERROR 40", "25 (23000) at line 3: CONSTRAINT `c` failed\n",
		"ERROR 1062 (23000) at line 9: Duplicate entry 'hunter2' for key 'k'\n", "ERROR 1064 (42000) at line 12: near 'IDENTIFIED BY 'hunter2''\n", "mysql hunter2\n", "ERROR hunter2\n", "mariadb-dump: Got error: 2002: no such socket",
	} {
		if n, err := words.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	const want = "mariadb: it failed: ERROR 4025 (23000) at line 3: CONSTRAINT `c` failed\nERROR 1062 (23000) at line 9\nERROR 1064 (42000) at line 12\nmariadb-dump: Got error: 2002: no such socket"
	if got := words.explain("/usr/bin/mariadb", errors.New("it failed")).Error(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
