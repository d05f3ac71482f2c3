/** How a picture lies on its stage: `scale` 1 fits it in; `x` and `y` move its middle, in pixels of the screen. */
export interface Zoom {
  readonly scale: number;
  readonly x: number;
  readonly y: number;
}

export interface Area {
  readonly width: number;
  readonly height: number;
}

export const fitted: Zoom = { scale: 1, x: 0, y: 0 };

const LARGEST = 32;

/** The size at which a picture fits the stage whole, as large as it goes. */
export function fitIn(picture: Area, stage: Area): Area {
  const share = Math.min(stage.width / picture.width, stage.height / picture.height);
  return { width: picture.width * share, height: picture.height * share };
}

/** Nearer or farther by a factor; what lies under the point stays there. @param at from the middle of the stage */
export function zoomAt(zoom: Zoom, factor: number, at: { readonly x: number; readonly y: number }): Zoom {
  const scale = Math.min(LARGEST, Math.max(1, zoom.scale * factor));
  const ratio = scale / zoom.scale;
  return { scale, x: at.x - (at.x - zoom.x) * ratio, y: at.y - (at.y - zoom.y) * ratio };
}

/** No farther than the edges: a picture that is smaller than the stage stays in its middle. */
export function held({ scale, x, y }: Zoom, fit: Area, stage: Area): Zoom {
  const most = (size: number, room: number) => Math.max(0, (size * scale - room) / 2);
  const within = (value: number, limit: number) => Math.min(limit, Math.max(-limit, value)) || 0;
  return {
    scale,
    x: within(x, most(fit.width, stage.width)),
    y: within(y, most(fit.height, stage.height)),
  };
}
