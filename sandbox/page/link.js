// The WebSocket to the switch: frames, requests, reconnects.
//
// Owns one socket at a time, and when to try again. Never knows what a frame means, except that
// an answer carries its request's number. The frames are told in schemas/switch_wire.py.
"use strict";
standIn("SandboxLink", (require) => {
  const { Emitter } = require("SandboxBase");
  const FIRST_PAUSE_MS = 250;
  const LONGEST_PAUSE_MS = 5000;
  const PING_PERIOD_MS = 10000;

  class LineLost extends Error {}

  class Link extends Emitter {
    constructor() {
      super();
      this.socket = null;
      this.requests = new Map();
      this.lastRequest = 0;
      this.pauseMs = FIRST_PAUSE_MS;
      this.retry = 0;
      setInterval(() => this.checkLine(), PING_PERIOD_MS);
    }

    // Opens a line in place of any former one; "open", "frame" and "lost" tell of it.
    connect() {
      clearTimeout(this.retry);
      this.drop();
      const socket = new WebSocket(`wss://${location.host}${sandboxConfig.linkPath}`);
      this.socket = socket;
      socket.onopen = () => socket === this.socket && this.trigger("open");
      socket.onmessage = (event) => socket === this.socket && this.receive(JSON.parse(event.data));
      socket.onclose = () => socket === this.socket && this.lost();
    }

    // Closes the line without trying again.
    drop() {
      const { socket } = this;
      this.socket = null;
      socket?.close();
      this.failRequests();
    }

    // A login came through: the next loss starts with a short pause again.
    settled() {
      this.pauseMs = FIRST_PAUSE_MS;
    }

    post(frame) {
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
    }

    // Resolves with the answering frame; rejects with LineLost when the line ends before it.
    request(frame) {
      const req = ++this.lastRequest;
      return new Promise((resolve, reject) => {
        if (this.socket?.readyState !== WebSocket.OPEN) {
          reject(new LineLost("not connected"));
          return;
        }
        this.requests.set(req, { resolve, reject });
        this.post({ ...frame, req });
      });
    }

    receive(frame) {
      const waiting = frame.req ? this.requests.get(frame.req) : undefined;
      if (waiting) {
        this.requests.delete(frame.req);
        waiting.resolve(frame);
      } else {
        this.trigger("frame", frame);
      }
    }

    lost() {
      this.socket = null;
      this.failRequests();
      this.trigger("lost");
      this.retry = setTimeout(() => this.connect(), this.pauseMs);
      this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
    }

    failRequests() {
      const waiting = [...this.requests.values()];
      this.requests.clear();
      for (const { reject } of waiting) reject(new LineLost("the line was lost"));
    }

    async checkLine() {
      const { socket } = this;
      if (socket?.readyState !== WebSocket.OPEN) return;
      const late = new Promise((resolve) => setTimeout(resolve, PING_PERIOD_MS - 1000, "late"));
      const answer = await Promise.race([this.request({ t: "ping" }).catch(() => "lost"), late]);
      if (answer === "late" && socket === this.socket) socket.close();
    }
  }

  return { link: new Link(), LineLost };
});
