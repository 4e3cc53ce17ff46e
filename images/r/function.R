# Calls main with the arguments by their names; sends the runner what it returns.
local({
  words <- commandArgs(trailingOnly = TRUE)
  arguments <- jsonlite::fromJSON(Sys.getenv("SANDBOX_ARGUMENTS"))
  Sys.unsetenv("SANDBOX_ARGUMENTS")
  sys.source(words[1], globalenv())
  if (!exists("main", globalenv(), mode = "function")) {
    stop("main is not defined: the program must define a function named main.", call. = FALSE)
  }
  value <- do.call("main", as.list(arguments), envir = globalenv())
  result <- charToRaw(enc2utf8(as.character(jsonlite::toJSON(value, auto_unbox = TRUE, null = "null", digits = NA))))
  status <- file("/proc/self/fd/4", "wb")
  writeBin(c(charToRaw("R"), writeBin(length(result), raw(), endian = "big"), result), status)
  close(status)
})
