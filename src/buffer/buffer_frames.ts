/** Frames of a disk buffer's log; docs/storage_format.md. */
export const BufferFrame = { EVENTS: 1, SKIP: 2 } as const;

/** Folder of all disk buffers in data_dir; each sink has one of its name in it. */
export const BUFFER_FOLDER = "buffer";
