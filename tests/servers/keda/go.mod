module outrigger.dev/tests/servers/keda

go 1.26.0

// Only its CustomResourceDefinitions are used, so nothing here imports it.
require github.com/kedacore/keda/v2 v2.20.2
