# The R worker, which becomes the program. See docs/runner-protocol.md, "Writing a worker".
# Native because R takes half a second to start; that is done before the job arrives.
invisible(loadNamespace("jsonlite"))

sandbox <- local({
  Sys.unsetenv("SANDBOX_PRELOAD")
  # R cannot use a descriptor by number and has no permission to open the runner's pipes by path: cat inherits them.
  jobs <- pipe("exec cat <&3", "rb")
  status <- pipe("exec cat >&4", "wb")
  send <- function(bytes) {
    writeBin(bytes, status)
    flush(status)
  }
  send(charToRaw("+"))
  head <- readBin(jobs, "integer", endian = "big")
  if (length(head) == 0) quit(status = 0) # no job: the sandbox is being removed
  text <- rawToChar(readBin(jobs, "raw", head))
  Encoding(text) <- "UTF-8"
  job <- jsonlite::parse_json(text)
  write <- function(path, content) {
    dir.create(dirname(path), recursive = TRUE, showWarnings = FALSE)
    writeBin(content, path)
  }
  for (file in job$files) write(file.path("/workspace", file$path), jsonlite::base64_dec(file$base64))
  source <- file.path("/workspace", job$source_file)
  write(source, charToRaw(enc2utf8(job$code)))
  if (length(job$environment)) do.call(Sys.setenv, job$environment)
  # commandArgs() returns what it would return under Rscript.
  own <- c("R", "--no-echo", "--no-restore", "--vanilla", paste0("--file=", source))
  given <- as.character(unlist(job$argv))
  unlockBinding("commandArgs", baseenv())
  assign("commandArgs", function(trailingOnly = FALSE) {
    if (trailingOnly) given else c(own, if (length(given)) c("--args", given))
  }, baseenv())
  lockBinding("commandArgs", baseenv())
  # Parse the arguments again with fromJSON, which makes a vector of a JSON array whose items have one type.
  arguments <- function() jsonlite::fromJSON(jsonlite::toJSON(job$arguments, auto_unbox = TRUE, null = "null", digits = NA))
  finish <- function(bytes) {
    send(bytes)
    close(status)
  }
  list(source = source, is_function = job$mode == "function", arguments = arguments, finish = finish)
})

source(sandbox$source, local = globalenv(), print.eval = TRUE, keep.source = FALSE)
if (sandbox$is_function) local({
  if (!exists("main", globalenv(), mode = "function")) {
    stop("main is not defined: the program must define a function named main.", call. = FALSE)
  }
  value <- do.call("main", as.list(sandbox$arguments()), envir = globalenv())
  result <- charToRaw(enc2utf8(as.character(jsonlite::toJSON(value, auto_unbox = TRUE, null = "null", digits = NA))))
  sandbox$finish(c(charToRaw("R"), writeBin(length(result), raw(), endian = "big"), result))
})
