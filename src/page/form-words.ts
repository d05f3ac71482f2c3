/** Words of the forms, of drawing, and of what the page says about itself, in English and Chinese. */
export const formWords = {
  opening: ["Opening…", "正在打开…"],
  connectionGone: [
    "The server does not answer. What it has accepted is kept: it goes on, or begins again, when the server is back.",
    "服务器没有响应。已接受的任务会保留：服务器恢复后继续或重新开始。",
  ],
  somethingFailed: ["Something went wrong in the page: {0}", "页面出错：{0}"],
  wrongFile: [
    "{0} is no picture that can be used: PNG, JPEG and WebP are.",
    "无法使用 {0}：仅支持 PNG、JPEG 和 WebP。",
  ],
  unreadableFile: ["{0} cannot be read as a picture.", "无法将 {0} 读作图片。"],
  restoredInpaint: [
    "Settings restored. The picture and the mask that it was made from are not in it: choose the picture, and paint what is to be repainted.",
    "设置已恢复。原图和蒙版不在此图中：请选择图片并涂抹要重绘的区域。",
  ],
  leftOut: [
    "This page has no field for {0}, so the picture will be another.",
    "此页面没有 {0} 的设置项，图片会有所不同。",
  ],
  restoredImage: [
    "Settings restored. The picture that it was made from is not in it: choose it.",
    "设置已恢复。原图不在此图中：请选择原图。",
  ],
  maskTools: ["Tools for the mask", "蒙版工具"],
  redo: ["Redo", "重做"],
  zoomIn: ["Zoom in", "放大显示"],
  zoomOut: ["Zoom out", "缩小显示"],
  fullScreen: ["Full screen", "全屏"],
  seedInvalid: [
    "A seed is a whole number from 0 on; -1 or nothing draws one.",
    "种子须为不小于 0 的整数；留空或 -1 为随机。",
  ],
  variationRandom: ["Random variation", "随机变异"],
  seedKept: ["kept: the same picture each time", "已固定：每次生成相同图片"],
  largePicture: [
    "{0} is more than the model draws well: the picture is brought to {1}.",
    "{0} 超出模型擅长的尺寸：图片将缩放到 {1}。",
  ],
  largeMasked: [
    "{0} is more than the model draws well: only the masked part is repainted, at {1}, and the rest stays as it is.",
    "{0} 超出模型擅长的尺寸：仅以 {1} 重绘蒙版区域，其余保持不变。",
  ],
  keepOwnSize: ["Use its own size", "使用图片原尺寸"],
  useModelSize: ["Bring it to the model's size", "缩放到模型尺寸"],
  ownSizeUsed: ["{0} is used as it is: slow.", "按原尺寸 {0} 处理：较慢。"],
  shapes: ["Shape", "画面比例"],
  swapSides: ["Swap width and height", "交换宽高"],
  lockShape: ["Keep the shape", "锁定比例"],
  sizeInWords: ["{0} × {1}, {2}", "{0} × {1}，{2}"],
  moreThanModel: [
    "{0} times the model's own size: slower, and things may repeat",
    "为模型尺寸的 {0} 倍：更慢，且可能重复",
  ],
  resetSettings: ["Reset all settings", "重置所有设置"],
  undoReset: ["Undo the reset", "撤销重置"],
  textEncoderPart: ["text encoder", "文本编码器"],
  imageEncoderPart: ["image encoder", "图像编码器"],
  unetPart: ["network that draws", "绘图网络"],
  decoderPart: ["decoder of pictures", "图像解码器"],
  controlPart: ["ControlNet", "ControlNet"],
  upscalerPart: ["upscaler", "放大网络"],
} as const satisfies Record<string, readonly [string, string]>;
