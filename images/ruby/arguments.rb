# frozen_string_literal: true

# Loaded when Ruby has set ARGV from its own command line, right before the program.
ARGV.replace(SandboxWorker.job['argv'])
$LOADED_FEATURES.delete('/opt/sandbox/syntax_suggest/core_ext.rb')
Object.send(:remove_const, :SandboxWorker) unless SandboxWorker.function?
