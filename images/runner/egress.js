// In a sandbox with egress: send the traffic of http, https and fetch through the proxy, with CONNECT. Node.js reads
// HTTPS_PROXY only with NODE_USE_ENV_PROXY (axios honours it). The proxy is the only way out: code that bypasses this
// module reaches nothing.
'use strict';

const http = require('http');
const https = require('https');
const net = require('net');
const tls = require('tls');

const LOCAL = new Set(['localhost', '127.0.0.1', '::1']);
const proxy = new URL(process.env.HTTPS_PROXY);

function tunnel(host, port, callback) {
  const target = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
  const request = http.request({
    host: proxy.hostname,
    port: proxy.port,
    method: 'CONNECT',
    path: target,
    headers: { host: target },
    agent: false,
  });
  request.once('connect', (response, socket) => {
    if (response.statusCode === 200) return callback(null, socket);
    socket.destroy();
    const error = new Error(`the proxy refused ${target} with ${response.statusCode}`);
    error.code = 'ERR_EGRESS_REFUSED';
    return callback(error);
  });
  request.once('error', callback);
  request.end();
}

function secured(socket, options, host) {
  const servername = options.servername || (net.isIP(host) ? '' : host);
  return tls.connect({ ...options, socket, servername, host: undefined, port: undefined, path: undefined });
}

class HttpAgent extends http.Agent {
  createConnection(options, callback) {
    if (options.socketPath || LOCAL.has(options.host)) return super.createConnection(options, callback);
    tunnel(options.host, options.port, callback);
    return undefined;
  }
}

class HttpsAgent extends https.Agent {
  createConnection(options, callback) {
    if (options.socketPath || LOCAL.has(options.host)) return super.createConnection(options, callback);
    tunnel(options.host, options.port, (error, socket) => {
      if (error) return callback(error);
      return callback(null, secured(socket, options, options.host));
    });
    return undefined;
  }
}

http.globalAgent = new HttpAgent({ keepAlive: true, timeout: 5000 });
https.globalAgent = new HttpsAgent({ keepAlive: true, timeout: 5000 });

// fetch and its dispatcher are created on first use.
const DISPATCHER = Symbol.for('undici.globalDispatcher.1');
fetch('data:,').catch(() => {});
const Agent = globalThis[DISPATCHER].constructor;
globalThis[DISPATCHER] = new Agent({
  connect(options, callback) {
    const secure = options.protocol === 'https:';
    const port = Number(options.port) || (secure ? 443 : 80);
    const ready = (error, socket) => {
      if (error || !secure) return callback(error, socket);
      const wrapped = secured(socket, { ALPNProtocols: ['http/1.1'], servername: options.servername }, options.hostname);
      wrapped.once('error', callback);
      return wrapped.once('secureConnect', () => {
        wrapped.removeListener('error', callback);
        callback(null, wrapped);
      });
    };
    if (LOCAL.has(options.hostname)) {
      const socket = net.connect(port, options.hostname, () => ready(null, socket));
      socket.once('error', callback);
    } else {
      tunnel(options.hostname, port, ready);
    }
  },
});
