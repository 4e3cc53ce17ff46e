# Call main with the arguments as a hash reference and send the return value to the runner.
use strict;
use warnings;
use JSON::PP;

my $main_process = $$;

my $source = shift @ARGV;
my $sent_to = delete $ENV{SANDBOX_RESULT};
my $arguments = do {
    local $/;
    open my $file, '<', delete $ENV{SANDBOX_ARGUMENTS} or die;
    decode_json(<$file>);
};
$0 = $source;
my $loaded = do $source;
die $@ if $@;
die "$source: $!\n" if !defined $loaded && $!;
die "main is not defined: the program must define a sub named main.\n" unless defined &main;
my $value = main($arguments);
my $result = eval { JSON::PP->new->utf8->allow_nonref->canonical->encode($value) };
die "Error: what main returned is not JSON: $@" unless defined $result;
exit if $$ != $main_process; # a forked child that left its main, too
open my $file, '>:raw', $sent_to or die;
print {$file} $result;
close $file;
