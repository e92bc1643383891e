#!/usr/bin/env ruby
# frozen_string_literal: true

# Move money with the gem xmlrpc, signed in by client certificate.
#
# usage: atm.rb [URL [FOLDER]]

require "securerandom"
require "xmlrpc/client"

url = ARGV.fetch(0, "https://localhost:9000/RPC2")
folder = ARGV.fetch(1, "atm-data/clients/demo")

atm = XMLRPC::Client.new2(url)
atm.http.ca_file = File.join(folder, "ca.crt")
atm.http.cert = OpenSSL::X509::Certificate.new(File.read(File.join(folder, "client.crt")))
atm.http.key = OpenSSL::PKey.read(File.read(File.join(folder, "client.key")))

puts "balance #{atm.call("inquiry", 100)["result"]}"

# The request id makes it safe to ask again when an answer got lost.
order = SecureRandom.uuid
first = atm.call("deposit", 100, "12.50", order)
puts "deposited 12.50, balance #{first["result"]}"
puts "asked again, deposited once" if atm.call("deposit", 100, "12.50", order) == first

puts "withdrew 12.50, balance #{atm.call("withdraw", 100, "12.50", SecureRandom.uuid)["result"]}"

# An operation that is refused answers; it does not raise.
puts "refused: #{atm.call("withdraw", 100, "1000000.00", SecureRandom.uuid)["reason"]}"

begin
  atm.call("no_such_method")
rescue XMLRPC::FaultException => e
  puts "fault #{e.faultCode}"
end
