#!/bin/sh
exec /bin/vega-builder entrypoint
