'use strict';
// A Node.js service that drains without breaking a kept connection.
//
// What matters: it listens on the socket that it is given (descriptor 3), and on SIGTERM it closes nothing at once. Node's own
// server.close() closes every idle keep-alive connection immediately, and a client that sends its next request in that moment
// gets a reset. So for a while every answer says `Connection: close`, which makes the clients leave by themselves; only what is
// still idle after that is closed.
const http = require('http');

const version = process.argv[2] || 'dev';
const grace = Number(process.env.GRACE_MS || 5000);
let draining = false;
let connections = 0;

const server = http.createServer((request, response) => {
  response.setHeader('X-Version', version);
  if (draining) response.setHeader('Connection', 'close');
  if (request.url === '/ready') {
    response.statusCode = draining ? 503 : 200;
    return response.end(draining ? 'draining\n' : 'ready\n');
  }
  response.end(`hello from ${version}\n`);
});

// Longer than any client or load balancer keeps an idle connection: the client should be the one that closes.
server.keepAliveTimeout = 75_000;

server.on('connection', (socket) => {
  connections += 1;
  socket.on('close', () => {
    connections -= 1;
    if (draining && connections === 0) process.exit(0);
  });
});

process.on('SIGTERM', () => {
  draining = true;
  if (connections === 0) process.exit(0);
  setTimeout(() => server.close(() => process.exit(0)), grace);
});

// LISTEN_FDS is the number of descriptors from 3 on; without it the program is run by hand.
if (process.env.LISTEN_FDS) server.listen({ fd: 3 });
else server.listen(8080);
