package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// classes finds volumes whose StorageClass is not there.
func (j *judge) classes() {
	if j.lacks("list", "storageclasses") {
		return
	}
	var without []handoff.Volume
	for _, v := range j.plan.Volumes {
		_, ok := j.classOf(v)
		switch {
		case ok:
		case v.Class == "":
			without = append(without, v)
		default:
			text := fmt.Sprintf("volume %s (%s) wants the StorageClass %s, and the cluster has none of that name", v.Name, v.Path, v.Class)
			j.block("volume", text, j.chooseClass(v)...)
		}
	}
	if len(without) == 0 {
		return
	}
	var names []string
	for _, v := range without {
		names = append(names, fmt.Sprintf("%s (%s)", v.Name, v.Path))
	}
	choices := append(j.chooseClass(without[0]), `have a class made the default: kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true`)
	j.block("volume", fmt.Sprintf("the cluster has no default StorageClass, and none is chosen for %s", strings.Join(names, ", ")), choices...)
}

// chooseClass is one choice for each class that may serve the volume, those that
// are known to before others.
func (j *judge) chooseClass(v handoff.Volume, more ...string) []string {
	var known, unknown []string
	for _, c := range j.target.StorageClasses {
		line := decide(v, append([]string{"storageClass: " + yamlText(c.Name)}, more...)...)
		switch {
		case !c.Known:
			unknown = append(unknown, fmt.Sprintf("if its driver %s, which statelift does not know, serves %s: %s", c.Provisioner, v.AccessMode, line))
		case serves(c, v.AccessMode) && (c.NoOwners == "" || !v.Seed):
			known = append(known, fmt.Sprintf("use %s: %s", c.Driver, line))
		}
	}
	if len(known)+len(unknown) == 0 {
		return []string{fmt.Sprintf("have a StorageClass made whose driver serves %s", v.AccessMode)}
	}
	return append(known, unknown...)
}

// owners finds classes on which no file can have its owner: the proof of the copy
// would fail.
func (j *judge) owners() {
	for _, v := range j.plan.Volumes {
		c, ok := j.classOf(v)
		if !ok || c.NoOwners == "" || !v.Seed {
			continue
		}
		j.block("volume", fmt.Sprintf("volume %s (%s) would be of StorageClass %s (%s), where files cannot have the owners that they have on the host: %s", v.Name, v.Path, c.Name, c.Driver, c.NoOwners), j.chooseClass(v)...)
	}
}

// shares finds network shares whose driver the cluster does not have.
func (j *judge) shares() {
	if j.lacks("list", "csidrivers") {
		return
	}
	for _, s := range j.plan.Shares {
		if !mounted(s) || s.Driver == "" || slices.Contains(j.target.CSIDrivers, s.Driver) {
			continue
		}
		j.block("volume", fmt.Sprintf("share %s (%s of %s at %s) is mounted by the CSI driver %s, which the cluster does not have", s.Name, s.FSType, s.Server, s.Path, s.Driver),
			"have the driver installed", fmt.Sprintf("do without the share: paths: [{path: %s, class: drop}]", yamlText(s.Path.String())))
	}
}

// claimSizes compares each claim with the LimitRanges.
func (j *judge) claimSizes() {
	for _, v := range j.plan.Volumes {
		for _, l := range j.target.Limits {
			if l.Type != "PersistentVolumeClaim" || l.Resource != "storage" {
				continue
			}
			raise := fmt.Sprintf("have LimitRange %s changed", l.Name)
			switch {
			case l.Max > 0 && v.Request > l.Max:
				choices := []string{raise, elsewhere}
				if v.Bytes <= l.Max {
					choices = append([]string{"do with less room: " + decide(v, "size: "+quantity(l.Resource, l.Max))}, choices...)
				}
				j.block("volume", fmt.Sprintf("volume %s (%s) asks for %s, and LimitRange %s allows %s at most for one claim", v.Name, v.Path, quantity(l.Resource, v.Request), l.Name, quantity(l.Resource, l.Max)), choices...)
			case l.Min > 0 && v.Request < l.Min:
				j.block("volume", fmt.Sprintf("volume %s (%s) asks for %s, and LimitRange %s wants %s at least for one claim", v.Name, v.Path, quantity(l.Resource, v.Request), l.Name, quantity(l.Resource, l.Min)),
					"ask for more: "+decide(v, "size: "+quantity(l.Resource, l.Min)), raise)
			}
		}
	}
}

// targetRisks are what does not hinder the lift and should be known.
func targetRisks(pl handoff.Plan, t handoff.Target) []handoff.Risk {
	j := &judge{plan: pl, target: t}
	var out []handoff.Risk
	risk := func(level, about, text, remedy string) {
		out = append(out, handoff.Risk{Level: level, About: about, Text: text, Remedy: remedy})
	}
	seen := map[string]bool{}
	for _, v := range pl.Volumes {
		c, ok := j.classOf(v)
		if !ok || seen[c.Name] {
			continue
		}
		seen[c.Name] = true
		about := "StorageClass " + c.Name
		if !c.Known {
			risk("medium", about, fmt.Sprintf("statelift does not know its driver %s: which access modes it serves, and whether it keeps owners, shows when it is used", c.Provisioner), "look into the driver's documentation before the cutover")
		}
		if c.Provisioner == "kubernetes.io/no-provisioner" {
			risk("high", about, "nothing makes volumes of this class: without PersistentVolumes that are there and large enough, the copies wait for ever", "make them, or choose another class")
		}
		if host := j.plan.Host.Architecture; v.Seed && c.Binding == "WaitForFirstConsumer" && j.plan.CopierArch != "" && host != "" && j.plan.CopierArch != host {
			risk("high", about, fmt.Sprintf("its volumes are made where the copies run, which are nodes of linux/%s, and the host's programs run on nodes of linux/%s: these may not reach them", j.plan.CopierArch, host),
				fmt.Sprintf("give the copies a statelift that is built for linux/%s (--copier PROGRAM), or choose a class whose volumes all nodes reach", host))
		}
		if c.Reclaim == "Delete" {
			risk("low", about, "a volume is deleted with its claim (reclaimPolicy Delete)", "choose a class with Retain for data that must outlive its claim")
		}
		if !c.Expands {
			risk("low", about, "its volumes cannot grow later", "give them enough room now: headroom or size in statelift.yaml")
		}
		for _, note := range c.Notes {
			risk("low", about, note, "see "+c.Fact)
		}
	}
	for _, m := range t.Missing {
		if m.Optional && m.Verb == "list" && m.Resource != "persistentvolumes" {
			risk("low", j.where(), fmt.Sprintf("you may not list %s: statelift could not look (%s)", m.Resource, m.For), "have it granted, or look yourself")
		}
	}
	return out
}
