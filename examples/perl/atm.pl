#!/usr/bin/env perl
# Move money with RPC::XML, signed in by client certificate.
#
# usage: atm.pl [URL [FOLDER]]
use v5.30;
use warnings;

use RPC::XML;
use RPC::XML::Client;

my $url    = shift // 'https://localhost:9000/RPC2';
my $folder = shift // 'atm-data/clients/demo';

my $atm = RPC::XML::Client->new($url);
$atm->useragent->ssl_opts(
    SSL_ca_file   => "$folder/ca.crt",
    SSL_cert_file => "$folder/client.crt",
    SSL_key_file  => "$folder/client.key",
);

# call returns what the server answers, a fault too, and dies without an answer.
sub call {
    my $answer = $atm->send_request(@_);
    die "$answer\n" unless ref $answer;
    return $answer;
}

sub request_id {
    open my $random, '<:raw', '/dev/urandom' or die "random: $!\n";
    read $random, my $bytes, 16;
    return unpack 'H*', $bytes;
}

# An amount is sent as a string: left to itself, RPC::XML makes a double of it.
my $amount = RPC::XML::string->new('12.50');

say 'balance ', call('inquiry', 100)->value->{result};

# The request id makes it safe to ask again when an answer got lost.
my $order = RPC::XML::string->new(request_id());
my $first = call('deposit', 100, $amount, $order)->value;
say 'deposited 12.50, balance ', $first->{result};
say 'asked again, deposited once' if call('deposit', 100, $amount, $order)->value->{receipt} eq $first->{receipt};

say 'withdrew 12.50, balance ', call('withdraw', 100, $amount, RPC::XML::string->new(request_id()))->value->{result};

# An operation that is refused answers; it is no fault.
say 'refused: ', call('withdraw', 100, 1_000_000, RPC::XML::string->new(request_id()))->value->{reason};

my $answer = call('no_such_method');
say 'fault ', $answer->code if $answer->is_fault;
