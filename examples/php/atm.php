#!/usr/bin/env php
<?php
// Move money with PHP's extensions curl and xmlrpc, signed in by client
// certificate.
//
// usage: atm.php [URL [FOLDER]]
declare(strict_types=1);

final class Atm
{
    private CurlHandle $http;

    public function __construct(string $url, string $folder)
    {
        $this->http = curl_init($url);
        curl_setopt_array($this->http, [
            CURLOPT_CAINFO => "$folder/ca.crt",
            CURLOPT_SSLCERT => "$folder/client.crt",
            CURLOPT_SSLKEY => "$folder/client.key",
            CURLOPT_HTTPHEADER => ['Content-Type: text/xml'],
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_FAILONERROR => true, // 401 and the like; faults come with 200
        ]);
    }

    public function __call(string $method, array $args): array
    {
        curl_setopt($this->http, CURLOPT_POSTFIELDS, xmlrpc_encode_request($method, $args));
        $answer = curl_exec($this->http);
        if ($answer === false) {
            throw new RuntimeException(curl_error($this->http));
        }
        return xmlrpc_decode($answer);
    }
}

function request_id(): string
{
    return bin2hex(random_bytes(16));
}

$atm = new Atm($argv[1] ?? 'https://localhost:9000/RPC2', $argv[2] ?? 'atm-data/clients/demo');

echo 'balance ', $atm->inquiry(100)['result'], "\n";

// The request id makes it safe to ask again when an answer got lost.
$order = request_id();
$first = $atm->deposit(100, '12.50', $order);
echo 'deposited 12.50, balance ', $first['result'], "\n";
if ($atm->deposit(100, '12.50', $order) === $first) {
    echo "asked again, deposited once\n";
}

echo 'withdrew 12.50, balance ', $atm->withdraw(100, '12.50', request_id())['result'], "\n";

// An operation that is refused answers; it is no fault.
echo 'refused: ', $atm->withdraw(100, '1000000.00', request_id())['reason'], "\n";

$answer = $atm->no_such_method();
if (xmlrpc_is_fault($answer)) {
    echo 'fault ', $answer['faultCode'], "\n";
}
