// The types that the page's scripts share. For the type check alone; nothing of it is served.

// What the API answers; /docs describes each field.
type Class = string | null; // null for none
type Place = { lat: number; lon: number };
type Value = string | number | Place | null; // of a fact
type Shown = Record<string, Value>;
type StoredImage = { id: string; path: string; class: Class; picture: string; facts?: Shown };
type UploadedImage = { embedding: string; sha256: string; model?: string };
type Image = StoredImage | UploadedImage;
type Found = { score: number; shown: Shown; box: Crop | null };
type Specimen = { value: Value; images: number; best: (StoredImage & Found)[] };
type Verdict = "right" | "wrong";
type Hit = StoredImage & Found & { rank: number; identical: boolean; specimen: Specimen | null; mark: Verdict | null };
type Vote = { class: string; votes: number; share: number };
type Explanation = {
  votes: Vote[];
  without_class: number;
  predicted: string;
  confidence: number | null;
  unlike: boolean;
  best: number;
  usual: number | null;
  doubt: string | null;
};
type Crop = { // in pixels
  x: number;
  y: number;
  width: number;
  height: number;
  picture_width: number;
  picture_height: number;
};
type Listed = StoredImage & { shown: Shown }; // an image without a query
type ListAnswer = { images: Listed[]; total: number; note: string | null };
type Answer = {
  hits: Hit[];
  more: boolean;
  digest: string;
  wrong: number;
  explanation: Explanation;
  query: StoredImage | null;
  crop: Crop | null;
  embedding: string | null;
  sha256: string | null;
  model: string;
  positive: Image[];
  negative: Image[];
  note: string | null;
  approximate: boolean;
};
type Count = { name: string; count: number };
type Fact = { name: string; kind: "text" | "yes/no" | "number" | "date" | "geo" };
type Facet = Fact & { images: number; values: Count[]; more: boolean; least: Value; greatest: Value };
type Collection = {
  points: number;
  classes: Count[];
  without_class: number;
  datasets: Count[];
  facts: Fact[];
  upload_bytes: number;
  examples: number;
  key: boolean;
};
type MapProgress = { doing: string; done: number; total: number };
type MapPoints = { row: number; image: StoredImage }[];
type Matches = { tag: string; matches: number; mask: string };
type Send = (path: string, init?: RequestInit) => Promise<Response>;
type AnswerOf<Path extends string> = Path extends "/api/collection" ? Collection
  : Path extends `/api/facets${string}` ? { facets: Facet[] }
  : Path extends "/api/marks" ? { wrong: number }
  : Path extends `/api/images?${string}` ? ListAnswer
  : Path extends `/api/points/${string}/similar${string}` ? Answer
  : Path extends `/api/points/${string}` ? { width: number; height: number }
  : Answer;
type Fault = import("./static/api.js").Refusal & { place: number };
type Ask = (path: string, init?: RequestInit, send?: Send) => Promise<Response>;
type Api = <Path extends string>(
  path: Path,
  init?: RequestInit,
  send?: Send,
) => Promise<AnswerOf<Path>>;

// Elements of index.html by id, where a type is needed
type Elements = {
  "area-among": HTMLButtonElement;
  "area-examples": HTMLButtonElement;
  "area-list": HTMLButtonElement;
  camera: HTMLInputElement;
  facets: HTMLDetailsElement;
  file: HTMLInputElement;
  filters: HTMLDetailsElement;
  key: HTMLInputElement;
  "legend-find": HTMLInputElement;
  "legend-panel": HTMLDetailsElement;
  login: HTMLDialogElement;
  "login-form": HTMLFormElement;
  look: HTMLDialogElement;
  "look-compare": HTMLButtonElement;
  "look-from": HTMLAnchorElement;
  "look-next": HTMLButtonElement;
  "look-opacity": HTMLInputElement;
  "look-previous": HTMLButtonElement;
  map: HTMLCanvasElement;
  "map-filter": HTMLFormElement;
  "map-where": HTMLInputElement;
  more: HTMLButtonElement;
  "option-where": HTMLTextAreaElement;
  options: HTMLFormElement;
  "progress-bar": HTMLProgressElement;
  "show-fields": HTMLDetailsElement;
  take: HTMLDetailsElement;
  "to-map": HTMLAnchorElement;
  "to-search": HTMLAnchorElement;
  "tray-keep": HTMLFormElement;
  "tray-search": HTMLButtonElement;
  "tray-title": HTMLInputElement;
};
type Attribute = string | number | boolean | null | ((event: Event) => void);
type Attributes = Record<string, Attribute>;
type Child = Node | string | null;
type ElementOf = <I extends string>(id: I) => I extends keyof Elements ? Elements[I] : HTMLElement;
type Create = <T extends keyof HTMLElementTagNameMap>(
  tag: T,
  attributes?: Attributes,
  ...children: Child[]
) => HTMLElementTagNameMap[T];
type Clicked = (event: MouseEvent, selector: string) => HTMLElement | null;

// The address
type OptionName = typeof import("./static/state.js").OPTION_NAMES[number];
type Options = Partial<Record<OptionName, string>>; // empty for the default
type Choose = (name: OptionName, value: string) => void;
type ReplaceOptions = (name: OptionName, entries: HTMLOptionElement[]) => void;
type Query = // examples by key
  | ({ kind: "embedding"; crop?: string } & UploadedImage)
  | { kind: "point"; id: string; crop?: string }
  | { kind: "examples"; positive: string[]; negative: string[] };
type AddressOf = (query: Query | null, options: Options) => string;
type ParametersOf = (options: Options, query?: Query | null) => URLSearchParams;

// Hits
type Item = Hit | Listed;
type Chunk = { nodes: HTMLElement[]; height: number; drawn: boolean }; // its gap below is of the height
type ShowItems = <T extends Item>(shown: T[], create: (item: T) => HTMLElement) => void;
type ShowHits = (hits: Hit[], options: Options, queryClass: Class) => void;
type CreateCard = (image: StoredImage, link: HTMLElement, ...others: Child[]) => HTMLElement;
type HitLink = (hit: Item, queryClass: Class, ...facts: Node[]) => HTMLElement;
type NothingFits = (explanation: Explanation, options: Options) => string;
type ShowExplanation = (explanation: Explanation, kind: Query["kind"]) => string;
type ShowAnswer = (answer: Answer, query: Query, options: Options) => void;
type OfferMarks = (answer: Answer, name: string) => void; // of the query
type MoreHits = (answer: Answer, query: Query, options: Options, offset?: number) => Next | null;
type ListImages = (options: Options, ignored: string, signal: AbortSignal) => Promise<Start>;
type Next = () => Promise<{ items: Item[]; next: Next | null }>; // what follows the list
type Start = { images: Item[]; title: string; status: string; isOfClasses: boolean; next: Next | null };
type Taken = { // what the hits are of
  query?: string;
  uploaded?: UploadedImage | null;
  name?: string;
  sha256?: string;
  show?: string;
};
type Upload = {
  src: string | null; // the address of a picture, if one could be made
  name: string;
  whole?: UploadedImage; // the image that a part is of
};
type UploadFiles = (files: File[], part?: PartOfFile | null) => Promise<void>;
type ListenForFiles = (
  onFiles: (files: File[]) => void,
  onRefused: (reason: string) => void,
) => void;
type ServerView = (file: File, signal: AbortSignal) => Promise<ImageBitmap | null>;
type Sending = (file: File, signal: AbortSignal) => RequestInit;
type Thumbnail = (image: Image, alt: string, side?: number) => HTMLElement;
type RememberUpload = (image: UploadedImage, upload: Upload) => void;
type RememberPart = (image: Image, answer: Answer) => Image;
type Sign = "positive" | "negative";
type Tray = { positive: Image[]; negative: Image[] };
type OnSearch = (positive: string[], negative: string[]) => void; // keys
type PastSearch = { url: string; title: string; at: number };
type Search = (query: Query, options: Options, signal?: AbortSignal, offset?: number) => Promise<Answer>;
type FindStart = (options: Options, collection: Collection | null, signal: AbortSignal) => Promise<Start>;
type FileAnswer = Answer & UploadedImage;
type SearchByFile = (
  file: File,
  wanted: URLSearchParams,
  signal: AbortSignal,
  part: PartOfFile | null,
  what: string, // the progress is of
) => Promise<FileAnswer>;
type SearchByFiles = (
  given: File[],
  options: Options,
  maxBytes: number,
  signal: AbortSignal,
  part: PartOfFile | null,
) => Promise<{ answers: FileAnswer[]; refused: string[] }>;

// Parts of a picture
type Box = { x: number; y: number; width: number; height: number }; // shares of the sides
type Part = { // null for the whole, and for what cannot be done
  box: Box | null;
  onDraw: ((box: Box) => void) | null;
  onClear: (() => void) | null;
};
type PartOf = (answer: Answer, query: Exclude<Query, { kind: "examples" }>) => Part;
type ShowImageQuery = (
  image: Image,
  example: Image, // what is searched by: a part of the image
  part: Part,
) => void;
type OutlinePart = (frame: HTMLElement, picture: HTMLElement, box: Box) => void;
type Cover = (
  frame: HTMLElement,
  picture: HTMLImageElement,
  outline: HTMLElement,
  onCovered?: () => void,
) => HTMLElement;
type MovePart = (box: Box, by: [right: number, down: number], corner: boolean) => Box;
type ShowPart = (frame: HTMLElement, picture: HTMLElement, part: Part) => Node[];
type Drawing = { // where a part can be drawn
  box: Box | null;
  draw: (box: Box | null, text?: string) => void;
  take: (box: Box) => boolean; // whether it is large enough
  onClear: (() => void) | null;
};
type PartOfFile = { crop: string; whole: UploadedImage }; // a part, and what the file was

// The lightbox
type Entry = { image: Image; box: Box | null; isQuery?: boolean; picture?: Picture };
type Offer = (
  hits: Item[],
  query?: Image | null,
  box?: Box | null, // the part that was searched by
) => void;
type Picture = { // with its size in pixels, and the address of its parts, once known
  src: string;
  name: string;
  box: Box | null;
  width?: number;
  height?: number;
  source?: string;
};
type Region = [x: number, y: number, width: number, height: number]; // in pixels
type Pane = {
  picture: Picture;
  frame: HTMLElement;
  base: HTMLElement;
  outline: HTMLElement;
  detail: HTMLImageElement | null; // a part of the picture
  next?: HTMLImageElement;
  part: Region; // where the detail lies
};

type Step = (by: number) => void;
type Move = (x: number, y: number) => void; // in CSS pixels
type ZoomBy = (factor: number, at?: Position) => void;
type Movable = {
  zoom: ZoomBy;
  move: Move;
  fit: () => void;
};
type Gestures = {
  at: (event: MouseEvent) => Position;
  slack: number; // CSS pixels from which on a press is a drag
  zoom: ZoomBy;
  move: Move;
  onPress?: (event: PointerEvent, several: boolean) => void;
  onRelease: (event: PointerEvent, dragged: boolean) => void;
};

// The map
type Position = { x: number; y: number }; // in CSS pixels, unless said
type Bounds = { left: number; right: number; top: number; bottom: number }; // in the plane
type View = import("./static/view.js").View;
type Points = import("./static/points.js").Points;
type Canvas = import("./static/canvas.js").Canvas;
type Style = ReturnType<typeof import("./static/colours.js").classStyle>;
type Sprite = (style: Style, size: number, pixelRatio: number) => OffscreenCanvas | null;
type PlainMap = {
  tag: string;
  drawing: string;
  classes: Class[];
  sizes: number[]; // the points of each class, which follow one another
  x: Uint16Array;
  y: Uint16Array;
};
type Marks = {
  hits: number[];
  queries: number[];
  place: Position | null; // in the plane, of a query that is no point
};
type ForEachSlice = (
  parts: number,
  take: (label: number, start: number, end: number) => void,
) => void;
type Nearest = (x: number, y: number, radius: number) => number;
type Trace = (context: CanvasRenderingContext2D) => void;
type DrawPoints = (
  context: CanvasRenderingContext2D,
  view: View,
  size: number, // of a point
  pixelRatio: number,
) => boolean;
type Select = (point: number, input?: Selected["input"]) => void; // -1 for none
type OnCanvas = {
  select: (at: Selected | null) => void;
  open: (point: number) => void;
  draw: (anyInView: boolean) => void;
};
type Mark<Of> = (map: Canvas, of: Of, signal: AbortSignal) => Promise<void>;
type PointsOf = (
  wanted: { wanted: string[] } | { tag: string; rows: number[] },
  signal?: AbortSignal,
) => Promise<MapPoints>;
type ShowCard = (image: StoredImage | null, name: Class, selection: Selected) => void;
type Selected = { point: number; input: "mouse" | "touch" | "keyboard" } & Position;
type Page = { // what the address says
  query: Query | null;
  options: Options;
  examples: number; // that a search takes
  search: Search;
  navigate: (address: string) => Promise<void>;
};
type Around = { imagesOf: (rows: number[]) => Promise<StoredImage[]>; page: () => Page };
