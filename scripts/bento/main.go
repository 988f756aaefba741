// Bento with the components that the tests use. All of them would be some 450 modules, and a build of many minutes on two cores.
package main

import (
	"context"

	"github.com/warpstreamlabs/bento/public/service"

	_ "github.com/warpstreamlabs/bento/public/components/io"
	_ "github.com/warpstreamlabs/bento/public/components/mqtt"
	_ "github.com/warpstreamlabs/bento/public/components/prometheus"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
)

// Version is set when it is built: the version of the module.
var Version string

func main() {
	service.RunCLI(context.Background(), service.CLIOptSetVersion(Version, ""), service.CLIOptSetBinaryName("bento"))
}
