# The R worker: an interpreter that takes its job before it reads its main program.
#
# The runner starts it as any shell would, `Rscript /workspace/main.R`, with an empty file. R opens the file, and before
# it reads from it the site's profile, which sources this. Here R waits for the job, and puts the program into the file
# that it has open. What follows is R's own work. See docs/runner-protocol.md, "Writing a worker".
local({
  Sys.unsetenv("SANDBOX_PRELOAD")
  # R attaches these only after the profiles, which takes longer than most programs.
  .First.sys()
  loadNamespace("jsonlite")
  # The only function of R that closes a descriptor by its number.
  close_fds <- getDLLRegisteredRoutines(library.dynam("parallel", "parallel", .Library))$.Call$mc_close_fds
  # R cannot read a descriptor by its number, and may not open the runner's pipes by name: cat does.
  jobs <- pipe("exec cat <&3 4>&-", "rb")
  system("printf + >&4")
  head <- readBin(jobs, "integer", endian = "big")
  if (length(head) == 0) quit(status = 0) # no job: the sandbox is being removed
  text <- rawToChar(readBin(jobs, "raw", head))
  close(jobs)
  .Call(close_fds, 3:4)
  library.dynam.unload("parallel", system.file(package = "parallel"))
  Encoding(text) <- "UTF-8"
  job <- jsonlite::parse_json(text)
  write <- function(path, content) {
    dir.create(dirname(path), recursive = TRUE, showWarnings = FALSE)
    writeBin(content, path)
  }
  for (file in job$files) write(file.path("/workspace", file$path), jsonlite::base64_dec(file$base64))
  if (length(job$environment)) do.call(Sys.setenv, job$environment)
  # R looked for it before the job's files were there.
  if (file.exists("/workspace/.Renviron")) readRenviron("/workspace/.Renviron")
  if (length(job$argv)) {
    arguments <- c(commandArgs(), "--args", as.character(unlist(job$argv)))
    given <- seq_along(job$argv) - length(job$argv) + length(arguments)
    unlockBinding("commandArgs", baseenv())
    assign("commandArgs", function(trailingOnly = FALSE) if (trailingOnly) arguments[given] else arguments, baseenv())
    lockBinding("commandArgs", baseenv())
  }
  source <- file.path("/workspace", job$source_file)
  if (job$mode == "function") {
    options(sandbox.job = job)
    job$code <- "sys.source('/opt/sandbox/function.R', new.env())\n"
  }
  write(source, charToRaw(enc2utf8(job$code)))
})
