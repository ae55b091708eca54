#!/bin/sh
# Called by the runner before a job's first step; a job that is refused here ends with its worker.
exec /bin/vega-builder job-started
