import type { LucideIcon } from "lucide-preact";
import { useRef } from "preact/hooks";

/** The types that the server reads. */
export const pictureTypes = ["image/png", "image/jpeg", "image/webp"] as const;

/** A button that asks for a file; the browser's own control lies hidden beside it. */
export function FileButton({
  label,
  onFile,
  types = pictureTypes,
  quiet = false,
  icon: Icon,
  title,
}: {
  readonly label: string;
  readonly onFile: (file: File) => void;
  readonly types?: readonly string[];
  readonly quiet?: boolean;
  /** Where there is no room for the words. */
  readonly icon?: LucideIcon;
  readonly title?: string;
}) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        class={quiet ? "quiet" : undefined}
        title={title}
        onClick={() => input.current?.click()}
      >
        {Icon && <Icon />}
        <span>{label}</span>
      </button>
      <input
        ref={input}
        type="file"
        accept={types.join()}
        class="visually-hidden"
        tabIndex={-1}
        aria-label={label}
        onChange={(event) => {
          const [file] = event.currentTarget.files ?? [];
          if (file) onFile(file);
          // The same file can be chosen again.
          event.currentTarget.value = "";
        }}
      />
    </>
  );
}
