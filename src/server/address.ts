import type { Server } from "node:http";
import { type AddressInfo, isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { DiffusionError } from "../index.js";

export const urlOf = ({ family, address, port }: AddressInfo): string =>
  `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;

/** Who may use the server must be said where others than this machine's users can reach it. @throws DiffusionError BAD_OPTION */
export function checkAccess(
  listen: string,
  { auth, token }: { readonly auth: string | undefined; readonly token: string | undefined },
): void {
  if (auth !== undefined && !/^[^:]+:.{8,}$/.test(auth))
    throw new DiffusionError(
      "BAD_OPTION",
      "auth must be user:password with at least 8 characters of password",
    );
  if (token !== undefined && !/^[\w-]{16,200}$/.test(token))
    throw new DiffusionError("BAD_OPTION", "token must be 16 to 200 letters, digits, _ and -");
  if (auth !== undefined && token !== undefined)
    throw new DiffusionError(
      "BAD_OPTION",
      "auth and token both say who may use the server: give one of them",
    );
  if (!isLoopback(listen) && (auth ?? token) === undefined)
    throw new DiffusionError("BAD_OPTION", `listening on ${listen} would let everybody in the network in`, {
      hint: "add --auth user:password, or leave out --listen",
    });
}

/** 0 takes a free one. @throws DiffusionError BAD_OPTION */
export function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new DiffusionError("BAD_OPTION", `there is no port ${port}`, {
      hint: "choose one from 1 to 65535",
    });
}

const isLoopback = (address: string): boolean =>
  address === "localhost" || address === "::1" || (isIP(address) === 4 && address.startsWith("127."));

/** @throws DiffusionError BAD_OPTION for an address that cannot be had */
export function listening(server: Server, port: number, host: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === "EADDRINUSE";
      reject(
        new DiffusionError("BAD_OPTION", `cannot listen on ${host}:${port}: ${cause.message}`, {
          cause,
          hint: taken ? "something runs there already; choose another --port" : "choose another --listen",
        }),
      );
    });
    server.listen(port, host, () => resolve(server.address() as AddressInfo));
  });
}

/** Names under which the server may be asked. Addresses cannot be rebound; names only as far as they are listed. */
export function allowedHosts({ address, port }: AddressInfo, named: readonly string[]): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((list) => list?.map((item) => item.address) ?? []);
  const open = address === "0.0.0.0" || address === "::";
  const names = ["localhost", "127.0.0.1", "::1", ...(open ? all : [address])];
  const hosts = names.flatMap((name) => {
    const host = isIP(name) === 6 ? `[${name}]` : name;
    return port === 80 ? [host, `${host}:80`] : [`${host}:${port}`];
  });
  return new Set([...hosts, ...named].map((host) => host.toLowerCase()));
}
