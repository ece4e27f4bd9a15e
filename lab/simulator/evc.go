package main

import (
	"slices"
	"strings"
)

// evcModes are the EVC modes of each vendor, the oldest first.
var evcModes = map[string][]string{
	"intel": {"merom", "penryn", "nehalem", "westmere", "sandybridge", "ivybridge", "haswell", "broadwell", "skylake", "cascadelake", "icelake", "sapphirerapids"},
	"amd":   {"bulldozer", "piledriver", "steamroller", "zen", "zen2", "zen3", "zen4"},
}

// lacksEVC reports whether a host that offers an EVC mode lacks features of another one. Every mode fits one that is not known.
func lacksEVC(offered, needed string) bool {
	if offered == "" || needed == "" {
		return false
	}
	vendor, mode, _ := strings.Cut(offered, "-")
	other, least, _ := strings.Cut(needed, "-")
	return vendor != other || slices.Index(evcModes[vendor], mode) < slices.Index(evcModes[vendor], least)
}
