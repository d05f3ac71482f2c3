import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";

interface Labelled {
  readonly label: string;
  readonly hint?: string;
}

/** A label above its control; the hint belongs to the control's description. */
function Field({ label, hint, id, children }: Labelled & { id: string; children: ComponentChildren }) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children}
      {hint && (
        <small id={`${id}-hint`} class="hint">
          {hint}
        </small>
      )}
    </div>
  );
}

export function TextField(
  props: Labelled & {
    value: string;
    onChange: (value: string) => void;
    type?: "text" | "password";
    placeholder?: string;
  },
) {
  const id = useId();
  return (
    <Field {...props} id={id}>
      <input
        id={id}
        type={props.type ?? "text"}
        value={props.value}
        placeholder={props.placeholder}
        autocomplete="off"
        spellcheck={false}
        aria-describedby={props.hint && `${id}-hint`}
        onInput={(event) => props.onChange(event.currentTarget.value)}
      />
    </Field>
  );
}

export function TextArea(
  props: Labelled & {
    value: string;
    rows: number;
    placeholder?: string;
    onChange: (value: string) => void;
    onSubmit?: () => void;
  },
) {
  const id = useId();
  return (
    <Field {...props} id={id}>
      <textarea
        id={id}
        dir="auto"
        rows={props.rows}
        value={props.value}
        placeholder={props.placeholder}
        aria-describedby={props.hint && `${id}-hint`}
        onInput={(event) => props.onChange(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) props.onSubmit?.();
        }}
      />
    </Field>
  );
}

interface Numeric extends Labelled {
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly onChange: (value: number) => void;
}

const clamped = ({ min, max, value }: Numeric, text: string): number => {
  const number = Number(text);
  return text.trim() === "" || Number.isNaN(number) ? value : Math.min(max, Math.max(min, number));
};

/** What is typed stands until it is done, whatever else is drawn anew meanwhile. */
function NumberInput({ id, field }: { readonly id: string; readonly field: Numeric }) {
  const [typed, setTyped] = useState<string>();
  const { value, min, max, step, onChange } = field;
  return (
    <input
      id={id}
      type="number"
      {...{ min, max, step }}
      value={typed ?? value}
      onInput={(event) => setTyped(event.currentTarget.value)}
      onChange={(event) => {
        setTyped(undefined);
        onChange(clamped(field, event.currentTarget.value));
      }}
    />
  );
}

/** A number, and beside it a slider for the pointer. */
export function Slider(props: Numeric) {
  const id = useId();
  const { label, value, min, max, step, onChange } = props;
  return (
    <div class="field slider">
      <label for={id}>{label}</label>
      <NumberInput id={id} field={props} />
      <input
        type="range"
        aria-label={label}
        {...{ value, min, max, step }}
        onInput={(event) => onChange(Number(event.currentTarget.value))}
      />
    </div>
  );
}

export function NumberField(props: Numeric) {
  const id = useId();
  return (
    <Field {...props} id={id}>
      <NumberInput id={id} field={props} />
    </Field>
  );
}

export interface Choice {
  readonly value: string;
  readonly label: string;
  readonly disabled?: boolean;
}

/** Names to choose from, and "–" for none of them. */
export const choicesOrNone = <Name extends string>(
  names: readonly Name[],
  labelOf: (name: Name) => string = (name) => name,
): readonly Choice[] => [
  { value: "", label: "–" },
  ...names.map((name) => ({ value: name, label: labelOf(name) })),
];

export function Select(
  props: Labelled & {
    value: string;
    choices: readonly Choice[];
    onChange: (value: string) => void;
    disabled?: boolean;
  },
) {
  const id = useId();
  return (
    <Field {...props} id={id}>
      <select
        id={id}
        value={props.value}
        disabled={props.disabled}
        onChange={(event) => props.onChange(event.currentTarget.value)}
      >
        {props.choices.map(({ value, label, disabled }) => (
          <option key={value} value={value} disabled={disabled} selected={value === props.value}>
            {label}
          </option>
        ))}
      </select>
    </Field>
  );
}

export function Check({
  label,
  value,
  onChange,
}: Labelled & { value: boolean; onChange: (value: boolean) => void }) {
  return (
    <label class="check">
      <input type="checkbox" checked={value} onChange={(event) => onChange(event.currentTarget.checked)} />
      {label}
    </label>
  );
}

/** One of a few, all visible. */
export function Radios({
  label,
  value,
  choices,
  onChange,
}: Labelled & { value: string; choices: readonly Choice[]; onChange: (value: string) => void }) {
  const name = useId();
  return (
    <fieldset class="radios">
      <legend>{label}</legend>
      {choices.map((choice) => (
        <label key={choice.value}>
          <input
            type="radio"
            name={name}
            value={choice.value}
            checked={choice.value === value}
            disabled={choice.disabled}
            onChange={() => onChange(choice.value)}
          />
          {choice.label}
        </label>
      ))}
    </fieldset>
  );
}
