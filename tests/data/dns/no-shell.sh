#!/nowhere/sh
