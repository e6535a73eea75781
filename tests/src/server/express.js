// Express with files. Arguments: the document root, the address, the port.
"use strict";

const express = require("express");

const [root, address, port] = process.argv.slice(2);

express().use(express.static(root)).listen(Number(port), address);
