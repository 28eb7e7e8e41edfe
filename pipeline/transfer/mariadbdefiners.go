package transfer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline"
)

// definers refuses what would run as an account that the other server has not and
// does not get: whoever uses it there gets an error.
func (m *mariadb) definers(ctx context.Context) error {
	list, err := m.databases(ctx, files)
	if err != nil {
		return err
	}
	if len(m.order.Databases) > 0 {
		list = m.order.Databases
	}
	var lacking []string
	for _, database := range list {
		db := literal(database)
		users, err := m.column(ctx, files, "SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = "+db+
			" UNION SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = "+db+
			" UNION SELECT DEFINER FROM information_schema.VIEWS WHERE SECURITY_TYPE = 'DEFINER' AND TABLE_SCHEMA = "+db+
			" UNION SELECT DEFINER FROM information_schema.ROUTINES WHERE SECURITY_TYPE = 'DEFINER' AND ROUTINE_SCHEMA = "+db+" ORDER BY 1;")
		if err != nil {
			return err
		}
		for _, user := range users {
			at := strings.LastIndex(user, "@") // a role has none
			a := account{user: user}
			if at >= 0 {
				a = account{user[:at], user[at+1:]}
			}
			there, err := m.exists(ctx, a)
			if err != nil {
				return err
			}
			if !there && !slices.Contains(m.accounts, a) {
				lacking = append(lacking, fmt.Sprintf("%s (database %s)", a, database))
			}
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return &pipeline.Blocked{Question: fmt.Sprintf("views, routines, triggers or events run as an account that the server at %s has not: %s. "+
		"Choose: make it there, give them another definer on the host (or SQL SECURITY INVOKER), or keep the database in the cluster", m.order.Host, strings.Join(lacking, ", "))}
}
