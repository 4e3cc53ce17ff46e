# The main program of mode "function": puts the program in its own place, runs it, calls its main and writes the result.
job <- getOption("sandbox.job")
options(sandbox.job = NULL)
program <- file.path("/workspace", job$source_file)
main_process <- Sys.getpid()
unlink(program) # R still reads the file that it has open, of which this is the only line
writeBin(charToRaw(enc2utf8(job$code)), program)
source(program, local = globalenv(), print.eval = TRUE, keep.source = FALSE)
if (!exists("main", globalenv(), mode = "function")) {
  stop("main is not defined: the program must define a function named main.", call. = FALSE)
}
# Parse again, to get vectors where the JSON has lists of one type.
arguments <- jsonlite::fromJSON(jsonlite::toJSON(job$arguments, auto_unbox = TRUE, null = "null", digits = NA))
value <- do.call("main", as.list(arguments), envir = globalenv())
result <- jsonlite::toJSON(value, auto_unbox = TRUE, null = "null", digits = NA)
# Not from a forked child that left its main, too.
if (Sys.getpid() == main_process) {
  # Renamed when it is whole: the runner may end the program at any time.
  writeBin(charToRaw(enc2utf8(as.character(result))), "/run/sandbox/result.part")
  invisible(file.rename("/run/sandbox/result.part", "/run/sandbox/result"))
}
