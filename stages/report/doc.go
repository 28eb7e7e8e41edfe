// Package report tells a person what the plan is: report.html, one file with no
// script and nothing loaded from elsewhere, report.md and report.json.
//
// Reads the inventory, the split, the plan and inventory.db.
// Writes the report hand-off, and report.html, report.md, report.json.
// Touches the workspace only.
// Resumes by writing the three files again; each is replaced whole.
package report
