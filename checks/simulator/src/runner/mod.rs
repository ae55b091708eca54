//! The stand-in of GitHub's Actions runner: its command line, files, log lines, exit codes and hooks.
