package stages

import (
	"github.com/statelift/statelift/stages/scan/accounts"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/cron"
	"github.com/statelift/statelift/stages/scan/dpkg"
	"github.com/statelift/statelift/stages/scan/fstab"
	"github.com/statelift/statelift/stages/scan/listeners"
	"github.com/statelift/statelift/stages/scan/live"
	"github.com/statelift/statelift/stages/scan/osrelease"
	"github.com/statelift/statelift/stages/scan/settings"
	"github.com/statelift/statelift/stages/scan/systemd"
	"github.com/statelift/statelift/stages/scan/sysv"
	"github.com/statelift/statelift/stages/scan/tmpfiles"
)

// packages are the package managers that the scan asks.
func packages() []collect.Packages { return []collect.Packages{dpkg.Packages{}} }

// collectors are what reads facts in the scan, in the order of their facts.
func collectors(d Deps) []collect.Collector {
	return append(listeners.Watch([]collect.Collector{
		osrelease.Collector{},
		accounts.Collector{},
		fstab.Collector{},
		tmpfiles.Collector{},
		cron.Collector{},
		systemd.Collector{},
		sysv.Collector{},
		settings.New(settingsOf(d)),
	}), live.Collector{})
}

// settingsOf is the configuration that the profiles name.
func settingsOf(d Deps) []settings.Source {
	var out []settings.Source
	for _, p := range d.Profiles {
		for _, s := range p.Settings {
			out = append(out, settings.Source{Profile: p.Name, Format: s.Format, Files: s.Files, Secrets: p.Secrets.Settings})
		}
	}
	return out
}
