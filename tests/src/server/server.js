// Node's own HTTP server with files. Arguments: the document root, the address, the port.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

const [root, address, port] = process.argv.slice(2);

const server = http.createServer((request, response) => {
  const file = path.join(root, new URL(request.url, "http://localhost").pathname);
  const end = (status, body) => {
    response.writeHead(status, { "Content-Length": body.length });
    response.end(body);
    console.log("0", request.method, request.url, status);
  };
  if (request.method === "GET") {
    fs.readFile(file, (error, body) => (error ? end(404, "") : end(200, body)));
  } else {
    end(405, "");
  }
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), address);
