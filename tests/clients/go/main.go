// Asks a workspace again and again who it is, through the Databricks SDK for Go: signed in as the environment says.
// Usage: clients SECONDS. Prints each answer that differs from the last one; the first failed call ends it.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/databricks/databricks-sdk-go"
)

func main() {
	seconds, err := strconv.Atoi(os.Args[1])
	if err == nil {
		err = ask(time.Duration(seconds) * time.Second)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(duration time.Duration) error {
	workspace, err := databricks.NewWorkspaceClient()
	if err != nil {
		return err
	}
	last := ""
	for end := time.Now().Add(duration); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		me, err := workspace.CurrentUser.Me(context.Background())
		if err != nil {
			return err
		}
		if me.UserName != last {
			last = me.UserName
			fmt.Println(last)
		}
	}
	return nil
}
