// A BIND by the npm package `socks`: bind.cjs VERSION PROXY-PORT EXPECTED-HOST
//
// Prints `bound HOST PORT` and `peer HOST PORT` as the replies come, answers
// what the peer says with `heard: ...`, and ends with the peer.
const { SocksClient } = require('socks');

const [version, port, host] = process.argv.slice(2);
const client = new SocksClient({
  proxy: { host: '127.0.0.1', port: Number(port), type: Number(version) },
  command: 'bind',
  destination: { host, port: 21 },
});
client.on('error', (error) => {
  console.log(`error ${error.message}`);
  process.exitCode = 1;
});
client.on('bound', ({ remoteHost }) => console.log(`bound ${remoteHost.host} ${remoteHost.port}`));
client.on('established', ({ socket, remoteHost }) => {
  console.log(`peer ${remoteHost.host} ${remoteHost.port}`);
  socket.on('data', (data) => socket.write(`heard: ${data}`));
  socket.resume();
});
client.connect();
