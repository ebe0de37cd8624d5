package org.eellm.convert;

import java.math.BigInteger;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.convert.Pickled.Bool;
import org.eellm.convert.Pickled.Dict;
import org.eellm.convert.Pickled.Global;
import org.eellm.convert.Pickled.Int;
import org.eellm.convert.Pickled.Items;
import org.eellm.convert.Pickled.None;
import org.eellm.convert.Pickled.Opaque;
import org.eellm.convert.Pickled.Real;
import org.eellm.convert.Pickled.Storage;
import org.eellm.convert.Pickled.TensorView;
import org.eellm.convert.Pickled.Text;
import org.eellm.file.Shown;

/**
 * Reads a pickle as data. Python's pickles are programs for a stack machine that may call anything;
 * this machine has the instructions that {@code torch.save} writes and no way to call: a name that
 * is not on its list ends the reading.
 */
final class Unpickler {
  /** Far beyond any checkpoint's, whose pickles hold names and shapes alone. */
  private static final int MAX_INSTRUCTIONS = 4_000_000;

  private static final Set<String> DICTIONARIES =
      Set.of("collections.OrderedDict", "argparse.Namespace", "types.SimpleNamespace");
  private static final String TENSOR = "torch._utils._rebuild_tensor_v2";
  private static final String PARAMETER = "torch._utils._rebuild_parameter";
  private static final Set<String> COLLECTIONS =
      Set.of("torch.Size", "builtins.set", "__builtin__.set", "builtins.list", "builtins.tuple");

  private static final Map<String, SafetensorsType> STORAGES =
      Map.of(
          "torch.DoubleStorage", SafetensorsType.F64,
          "torch.FloatStorage", SafetensorsType.F32,
          "torch.HalfStorage", SafetensorsType.F16,
          "torch.BFloat16Storage", SafetensorsType.BF16,
          "torch.LongStorage", SafetensorsType.I64,
          "torch.IntStorage", SafetensorsType.I32,
          "torch.ShortStorage", SafetensorsType.I16,
          "torch.CharStorage", SafetensorsType.I8,
          "torch.ByteStorage", SafetensorsType.U8,
          "torch.BoolStorage", SafetensorsType.BOOL);

  /** Names that checkpoints of training hold besides, and nobody here needs. */
  private static final Set<String> OPAQUE =
      Set.of(
          "torch.device",
          "torch.float64",
          "torch.float32",
          "torch.float16",
          "torch.bfloat16",
          "torch.int64",
          "torch.int32",
          "torch.uint8",
          "torch.bool",
          "_codecs.encode",
          "collections.defaultdict",
          "collections.deque",
          "datetime.datetime",
          "datetime.timedelta",
          "numpy.core.multiarray._reconstruct",
          "numpy.core.multiarray.scalar",
          "numpy._core.multiarray._reconstruct",
          "numpy._core.multiarray.scalar",
          "numpy.dtype",
          "numpy.ndarray",
          "pathlib.PosixPath",
          "megatron.core.enums.ModelType",
          "megatron.core.transformer.enums.AttnMaskType",
          "megatron.core.transformer.enums.AttnType",
          "megatron.core.transformer.enums.LayerType",
          "megatron.core.transformer.enums.ModelType",
          "megatron.model.enums.AttnMaskType",
          "megatron.model.enums.AttnType",
          "megatron.model.enums.LayerType",
          "megatron.model.enums.ModelType",
          "megatron.model.enums.PositionEmbeddingType");

  /**
   * A reference to a storage within a pickle.
   *
   * @param key its name in the file
   * @param count of numbers
   */
  record StorageKey(SafetensorsType type, String key, long count) {}

  /** A place on the stack that collecting instructions go back to. */
  private record Mark(int depth) {}

  private final ByteBuffer bytes;
  private final Function<StorageKey, Storage> storages;
  private final List<Pickled> stack = new ArrayList<>();
  private final List<Mark> marks = new ArrayList<>();
  private final Map<Integer, Pickled> memo = new HashMap<>();

  private Unpickler(ByteBuffer bytes, Function<StorageKey, Storage> storages) {
    this.bytes = bytes.slice().order(ByteOrder.LITTLE_ENDIAN);
    this.storages = storages;
  }

  /**
   * Reads a pickle.
   *
   * @param storages finds the numbers that tensors view
   * @throws CheckpointException if it is malformed, or would call or build what checkpoints of
   *     weights do not hold; the message does not name the file
   */
  static Pickled read(ByteBuffer bytes, Function<StorageKey, Storage> storages) {
    Unpickler unpickler = new Unpickler(bytes, storages);
    try {
      return unpickler.run();
    } catch (BufferUnderflowException failure) {
      throw new CheckpointException("the pickle ends too early; the file is truncated", failure);
    }
  }

  private Pickled run() {
    for (int count = 0; count < MAX_INSTRUCTIONS; count++) {
      int code = bytes.get() & 0xff;
      if (code == '.') {
        return pop();
      }
      execute(code);
    }
    throw new CheckpointException(
        "the pickle has more than %d instructions; no checkpoint of weights has"
            .formatted(MAX_INSTRUCTIONS));
  }

  private void execute(int code) {
    switch (code) {
      case 0x80 -> protocol(); // PROTO
      case 0x95 -> bytes.getLong(); // FRAME: a hint for buffering
      case '(' -> marks.add(new Mark(stack.size()));
      case '0' -> pop(); // POP
      case '1' -> popMark(); // POP_MARK
      case '2' -> push(top()); // DUP
      case 'N' -> push(new None());
      case 0x88 -> push(new Bool(true));
      case 0x89 -> push(new Bool(false));
      case 'J' -> push(new Int(bytes.getInt()));
      case 'K' -> push(new Int(bytes.get() & 0xff));
      case 'M' -> push(new Int(bytes.getShort() & 0xffff));
      case 0x8a -> push(wholeNumber(bytes.get() & 0xff)); // LONG1
      case 'G' -> push(real());
      case 'X' -> push(text(length(bytes.getInt())));
      case 0x8c -> push(text(bytes.get() & 0xff));
      case 0x8d -> push(text(length(bytes.getLong())));
      case 'B' -> push(opaqueBytes(length(bytes.getInt())));
      case 'C' -> push(opaqueBytes(bytes.get() & 0xff));
      case 0x8e -> push(opaqueBytes(length(bytes.getLong())));
      case 'T' -> push(opaqueBytes(length(bytes.getInt()))); // a text of Python 2
      case 'U' -> push(opaqueBytes(bytes.get() & 0xff));
      case ')', ']', 0x8f -> push(new Items());
      case '}' -> push(new Dict());
      case 't', 'l', 0x91 -> push(new Items(popMark()));
      case 'd' -> {
        List<Pickled> entries = popMark();
        Dict dict = new Dict();
        putAll(dict, entries);
        push(dict);
      }
      case 0x85 -> push(tuple(1));
      case 0x86 -> push(tuple(2));
      case 0x87 -> push(tuple(3));
      case 'a' -> {
        Pickled value = pop();
        items(top()).values().add(value);
      }
      case 'e', 0x90 -> {
        List<Pickled> values = popMark();
        append(top(), values);
      }
      case 's' -> {
        Pickled value = pop();
        Pickled key = pop();
        putAll(top(), List.of(key, value));
      }
      case 'u' -> {
        List<Pickled> entries = popMark();
        putAll(top(), entries);
      }
      case 'q' -> memo.put(bytes.get() & 0xff, top());
      case 'r' -> memo.put(bytes.getInt(), top());
      case 0x94 -> memo.put(memo.size(), top());
      case 'h' -> push(remembered(bytes.get() & 0xff));
      case 'j' -> push(remembered(bytes.getInt()));
      case 'c' -> push(global(line(), line()));
      case 0x93 -> {
        String name = textOf(pop());
        push(global(textOf(pop()), name));
      }
      case 'R', 0x81 -> { // REDUCE, NEWOBJ
        Items arguments = items(pop());
        push(build(pop(), arguments.values()));
      }
      case 'b' -> { // BUILD
        Pickled state = pop();
        setState(top(), state);
      }
      case 'Q' -> push(persistent(items(pop()).values()));
      default ->
          throw new CheckpointException(
              "the pickle has the instruction 0x%02x, which checkpoints of weights do not have"
                  .formatted(code));
    }
  }

  private void protocol() {
    int version = bytes.get() & 0xff;
    if (version < 2 || version > 5) {
      throw new CheckpointException(
          "the pickle has protocol %d; 2 to 5 are read".formatted(version));
    }
  }

  /** A name that the pickle refers to: one on our lists, or the end. */
  private static Global global(String module, String name) {
    String full = module + "." + name;
    if (DICTIONARIES.contains(full)
        || COLLECTIONS.contains(full)
        || STORAGES.containsKey(full)
        || OPAQUE.contains(full)
        || full.equals(TENSOR)
        || full.equals(PARAMETER)) {
      return new Global(full);
    }
    throw new CheckpointException(
        "the pickle refers to %s, which is no part of weights; nothing was executed"
            .formatted(Shown.of(full)));
  }

  /** The value that calling a name with arguments would give; nothing is called. */
  private static Pickled build(Pickled callee, List<Pickled> arguments) {
    if (!(callee instanceof Global global)) {
      throw new CheckpointException("the pickle calls what is no name; nothing was executed");
    }
    String name = global.name();
    if (DICTIONARIES.contains(name)) {
      Dict dict = new Dict();
      if (!arguments.isEmpty()) { // pairs
        for (Pickled pair : items(arguments.getFirst()).values()) {
          putAll(dict, items(pair).values());
        }
      }
      return dict;
    }
    if (COLLECTIONS.contains(name)) {
      return arguments.isEmpty() ? new Items() : items(arguments.getFirst());
    }
    return switch (name) {
      case TENSOR -> tensor(arguments);
      case PARAMETER -> first(arguments);
      default -> new Opaque(name);
    };
  }

  private static Pickled first(List<Pickled> arguments) {
    if (arguments.isEmpty()) {
      throw new CheckpointException("the pickle builds a parameter of nothing");
    }
    return arguments.getFirst();
  }

  private static TensorView tensor(List<Pickled> arguments) {
    if (arguments.size() >= 4
        && arguments.get(0) instanceof Storage storage
        && arguments.get(1) instanceof Int(long offset)) {
      return new TensorView(storage, offset, numbers(arguments.get(2)), numbers(arguments.get(3)));
    }
    throw new CheckpointException("the pickle builds a tensor of what is no storage");
  }

  private static List<Long> numbers(Pickled list) {
    return items(list).values().stream()
        .map(
            value -> {
              if (value instanceof Int(long number)) {
                return number;
              }
              throw new CheckpointException("a tensor's shape holds what is no whole number");
            })
        .toList();
  }

  private static void setState(Pickled object, Pickled state) {
    switch (object) {
      case Dict dict when state instanceof Dict attributes ->
          dict.entries().putAll(attributes.entries());
      // A dictionary's own attributes (such as a state dictionary's _metadata) are no entries.
      case Dict _, Items _, Opaque _, TensorView _ -> {}
      default -> throw new CheckpointException("the pickle gives attributes to what has none");
    }
  }

  private Storage persistent(List<Pickled> id) {
    if (id.size() >= 5
        && id.get(0).equals(new Text("storage"))
        && id.get(1) instanceof Global global
        && id.get(2) instanceof Text(String key)
        && id.get(4) instanceof Int(long count)) {
      SafetensorsType type = STORAGES.get(global.name());
      if (type != null) {
        return storages.apply(new StorageKey(type, key, count));
      }
    }
    throw new CheckpointException("the pickle refers to data that is no storage of numbers");
  }

  private static void putAll(Pickled target, List<Pickled> keysAndValues) {
    if (keysAndValues.size() % 2 != 0) {
      throw new CheckpointException("the pickle has a key without a value");
    }
    if (target instanceof Opaque) {
      return;
    }
    if (!(target instanceof Dict dict)) {
      throw new CheckpointException("the pickle puts an entry into what is no dictionary");
    }
    for (int i = 0; i < keysAndValues.size(); i += 2) {
      switch (keysAndValues.get(i)) {
        case Text _, Int _, Real _, Bool _, None _, Global _ ->
            dict.entries().put(keysAndValues.get(i), keysAndValues.get(i + 1));
        default ->
            throw new CheckpointException("the pickle has a key that is neither text nor number");
      }
    }
  }

  private static void append(Pickled target, List<Pickled> values) {
    if (!(target instanceof Opaque)) {
      items(target).values().addAll(values);
    }
  }

  private static Items items(Pickled value) {
    if (value instanceof Items items) {
      return items;
    }
    throw new CheckpointException("the pickle uses as a list what is none");
  }

  private static String textOf(Pickled value) {
    if (value instanceof Text(String text)) {
      return text;
    }
    throw new CheckpointException("the pickle uses as a text what is none");
  }

  private Pickled remembered(int index) {
    Pickled value = memo.get(index);
    if (value == null) {
      throw new CheckpointException("the pickle recalls what it has not stored");
    }
    return value;
  }

  private void push(Pickled value) {
    stack.add(value);
  }

  /** The stack does not go below the last mark. */
  private void requireValue() {
    if (stack.size() <= (marks.isEmpty() ? 0 : marks.getLast().depth())) {
      throw new CheckpointException("the pickle takes more from its stack than there is");
    }
  }

  private Pickled top() {
    requireValue();
    return stack.getLast();
  }

  private Pickled pop() {
    requireValue();
    return stack.removeLast();
  }

  private List<Pickled> popMark() {
    if (marks.isEmpty()) {
      throw new CheckpointException("the pickle goes back to a mark that it has not set");
    }
    List<Pickled> above = stack.subList(marks.removeLast().depth(), stack.size());
    List<Pickled> values = new ArrayList<>(above);
    above.clear();
    return values;
  }

  private Items tuple(int size) {
    List<Pickled> values = new ArrayList<>();
    for (int i = 0; i < size; i++) {
      values.add(pop());
    }
    Collections.reverse(values);
    return new Items(values);
  }

  private int length(long count) {
    if (count < 0 || count > bytes.remaining()) {
      throw new CheckpointException("the pickle holds a text longer than itself");
    }
    return (int) count;
  }

  private byte[] take(int count) {
    byte[] taken = new byte[length(count)];
    bytes.get(taken);
    return taken;
  }

  private Text text(int count) {
    try {
      return new Text(
          StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(take(count))).toString());
    } catch (CharacterCodingException failure) {
      throw new CheckpointException("the pickle holds a text that is not UTF-8", failure);
    }
  }

  private Opaque opaqueBytes(int count) {
    bytes.position(bytes.position() + length(count));
    return new Opaque("bytes");
  }

  private Real real() {
    return new Real(Double.longBitsToDouble(Long.reverseBytes(bytes.getLong())));
  }

  /** A number beyond 64 bits, such as a seed, is of no use to us. */
  private Pickled wholeNumber(int count) {
    byte[] littleEndian = take(count);
    byte[] bigEndian = new byte[count];
    for (int i = 0; i < count; i++) {
      bigEndian[i] = littleEndian[count - 1 - i];
    }
    BigInteger value = count == 0 ? BigInteger.ZERO : new BigInteger(bigEndian);
    return value.bitLength() < Long.SIZE ? new Int(value.longValueExact()) : new Opaque("int");
  }

  private String line() {
    StringBuilder line = new StringBuilder();
    for (char c = (char) (bytes.get() & 0xff); c != '\n'; c = (char) (bytes.get() & 0xff)) {
      line.append(c);
    }
    return line.toString();
  }
}
