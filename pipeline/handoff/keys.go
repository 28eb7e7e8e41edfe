package handoff

import "github.com/statelift/statelift/pipeline"

// The hand-offs in pipeline order. A changed meaning or shape of a type raises
// its schema.
var (
	SourceKey    = pipeline.NewKey[Source]("source", 1)
	InventoryKey = pipeline.NewKey[Inventory]("inventory", 1)
	SplitKey     = pipeline.NewKey[Split]("split", 1)
	TargetKey    = pipeline.NewKey[Target]("target", 1)
	PlanKey      = pipeline.NewKey[Plan]("plan", 1)
	ReportKey    = pipeline.NewKey[Report]("report", 1)
	AdmitKey     = pipeline.NewKey[Admission]("admit", 1)
	ImagesKey    = pipeline.NewKey[Images]("images", 1)
	ObjectsKey   = pipeline.NewKey[Objects]("objects", 1)
	SeedsKey     = pipeline.NewKey[Seeds]("seeds", 1)
	UploadKey    = pipeline.NewKey[Upload]("upload", 1)
	ManifestsKey = pipeline.NewKey[Manifests]("manifests", 1)
	CopiesKey    = pipeline.NewKey[Copies]("copies", 1)
	RoundsKey    = pipeline.NewKey[Rounds]("rounds", 1)
	SwitchKey    = pipeline.NewKey[Switch]("switch", 1)
	VerdictsKey  = pipeline.NewKey[Verdicts]("verdicts", 1)
)
