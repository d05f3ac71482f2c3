import type { GenerateView } from "../server.js";
import { createStore } from "../store.js";

/** What follows a picture: a ControlNet (or T2I-Adapter), or an IP-Adapter. */
export type UnitKind = "control" | "ipAdapter";

/** As many as the server takes of a kind. */
export const mostUnits = 3;

/** One of them as the forms hold it. Its picture stands apart: it is too large to remember with the settings. */
export interface Unit {
  readonly id: string;
  /** Name on the server. */
  readonly model: string;
  /** Of ControlNets: "" for none, several with "+" between them. */
  readonly preprocess: string;
  readonly guess: boolean;
  readonly scale: number;
  readonly start: number;
  readonly end: number;
}

/** The pictures that are followed, as data: URLs, by the id of their unit: of an IP-Adapter several, else one. */
export type Followed = Readonly<Record<string, readonly string[]>>;
/** Where the mask of a ControlNet stands among them. */
export const maskOf = (id: string): string => `${id} mask`;
export const followedPictures = createStore<Followed>({});

type Said = { readonly [Name in Exclude<keyof Unit, "id" | "model">]?: Unit[Name] | undefined };

let made = 0;
export const newUnit = (model: string, more: Said = {}): Unit => {
  const { preprocess = "", guess = false, scale = 1, start = 0, end = 1 } = more;
  return { id: `${Date.now().toString(36)}-${made++}`, model, preprocess, guess, scale, start, end };
};

/** What a request says of them. */
export function requestOfUnits(
  { control, ipAdapter }: Readonly<Record<UnitKind, readonly Unit[]>>,
  followed: Followed,
): object {
  const common = ({ model, scale, start, end }: Unit) => ({ model, scale, start, end });
  const controlnet = control.map((unit) => ({
    ...common(unit),
    image: followed[unit.id]?.[0] ?? "",
    ...(followed[maskOf(unit.id)]?.[0] && { mask: followed[maskOf(unit.id)]?.[0] }),
    ...(unit.preprocess && { preprocess: stepsOf(unit.preprocess) }),
    ...(unit.guess && { guess: true }),
  }));
  return {
    ...(controlnet.length > 0 && { controlnet }),
    ...(ipAdapter.length > 0 && {
      ipAdapter: ipAdapter.map((unit) => ({ ...common(unit), image: followed[unit.id] ?? [] })),
    }),
  };
}

const stepsOf = (text: string): string | string[] => (text.includes("+") ? text.split("+") : text);

/** Those of a job of the history, without their pictures. */
export function unitsOf({ controlnet = [], ipAdapter = [] }: GenerateView): Record<UnitKind, Unit[]> {
  return {
    control: controlnet.map(({ model, preprocess = [], image: _, mask: _mask, ...rest }) =>
      newUnit(model, {
        ...rest,
        preprocess: [preprocess]
          .flat()
          .map((step) => (typeof step === "string" ? step : step.name))
          .join("+"),
      }),
    ),
    ipAdapter: ipAdapter.map(({ model, image: _, ...rest }) => newUnit(model, rest)),
  };
}

/** Those that a picture's text names: "ControlNet 0" with "Module: canny, Model: edges, Weight: 0.8, ...". */
export function unitsOfFields(fields: Readonly<Record<string, string>>): Record<UnitKind, Unit[]> {
  const read = (label: string) =>
    Object.entries(fields)
      .filter(([name]) => name.startsWith(`${label} `) && /\d$/.test(name))
      .map(([, text]) => unitOfText(text));
  return { control: read("ControlNet"), ipAdapter: read("IP-Adapter") };
}

function unitOfText(text: string): Unit {
  const said = new Map(
    text
      .split(", ")
      .map((part) => [part.slice(0, part.indexOf(":")), part.slice(part.indexOf(":") + 1).trim()]),
  );
  const module = said.get("Module") ?? "none";
  const number = (name: string, otherwise: number) => Number(said.get(name) ?? otherwise);
  // The web UI puts a hash behind the name; files have an ending that the server's list has not.
  const model = (said.get("Model") ?? "").replace(/ \[[0-9a-f]+\]$/, "").replace(/\.(safetensors|bin)$/, "");
  return newUnit(model, {
    preprocess: module.toLowerCase() === "none" ? "" : module,
    guess: said.get("Control Mode") === "Guess",
    scale: number("Weight", 1),
    start: number("Guidance Start", 0),
    end: number("Guidance End", 1),
  });
}
