#!/bin/sh
# Called by the runner before a job's first step; a non-zero exit fails the job there.
exec /bin/vega-builder job-started
