import { randomUUID } from "node:crypto";
import { hostname } from "node:os";

/** A name of this process that no other one has: in containers all are number 1, and hosts may be called alike. */
export const processName = (): string => `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
