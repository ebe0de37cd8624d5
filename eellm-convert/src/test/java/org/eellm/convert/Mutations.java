package org.eellm.convert;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ContainerNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.util.RawValue;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Damages files at random: the same seed damages them in the same ways. */
final class Mutations {
  /** What numbers in texts are replaced with. */
  private static final List<String> NUMBERS =
      List.of(
          "0",
          "-1",
          "1",
          "2",
          "7",
          "0.5",
          "-0.0",
          "1e308",
          "1e999",
          "1e-400",
          "300000000",
          "2147483647",
          "2147483648",
          "9223372036854775807",
          "1".repeat(400),
          "null");

  /** What values of JSON are replaced with. */
  private static final List<String> VALUES =
      List.of(
          "{}",
          "[]",
          "\"\"",
          "\"a\"",
          "\"\\u0000\"",
          "\"\\ud800\"",
          "\"(a|a|aa)+$\"",
          "\"" + "n".repeat(10_000) + "\"",
          "true",
          "false",
          "[1,2]",
          "{\"type\":\"Sequence\"}",
          "[".repeat(200) + "]".repeat(200),
          "[".repeat(5000) + "]".repeat(5000));

  private static final long[] LENGTHS = {
    0, 1, -1, 7, 1L << 31, (1L << 31) - 1, 1L << 32, 1L << 40, Long.MAX_VALUE, Long.MIN_VALUE
  };

  private static final Pattern NUMBER = Pattern.compile("\\b\\d+\\b");
  private static final JsonMapper JSON = new JsonMapper();

  private final Random random;

  Mutations(long seed) {
    random = new Random(seed);
  }

  int below(int bound) {
    return random.nextInt(bound);
  }

  /** A copy with a few bytes, a piece, or a number changed, missing or twice. */
  byte[] damaged(byte[] whole) {
    byte[] bytes = whole.clone();
    if (bytes.length == 0) {
      return bytes;
    }
    switch (random.nextInt(7)) {
      case 0 -> { // a few bytes, most of them where the structure is
        for (int n = 1 + random.nextInt(4); n > 0; n--) {
          bytes[place(bytes)] = (byte) random.nextInt(256);
        }
      }
      case 1 -> bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length));
      case 2 -> bytes[place(bytes)] ^= (byte) (1 << random.nextInt(8));
      case 3 -> { // a piece twice, or missing
        int from = place(bytes);
        int to = from + Math.min(bytes.length - from, 1 + random.nextInt(64));
        byte[] piece = Arrays.copyOfRange(bytes, from, to);
        byte[] between = random.nextBoolean() ? join(piece, piece) : new byte[0];
        bytes =
            join(Arrays.copyOf(bytes, from), between, Arrays.copyOfRange(bytes, to, bytes.length));
      }
      case 4 -> { // extreme values where lengths may be
        int at = place(bytes);
        byte fill = random.nextBoolean() ? (byte) 0xff : (byte) 0x7f;
        Arrays.fill(bytes, at, Math.min(bytes.length, at + 1 + random.nextInt(8)), fill);
      }
      case 5 -> {
        int at = place(bytes);
        if (at + 8 <= bytes.length) {
          ByteBuffer.wrap(bytes)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putLong(at, LENGTHS[random.nextInt(LENGTHS.length)]);
        }
      }
      default -> bytes = otherNumber(bytes);
    }
    return bytes;
  }

  private byte[] otherNumber(byte[] bytes) {
    String text = new String(bytes, StandardCharsets.ISO_8859_1);
    List<int[]> numbers = new ArrayList<>();
    Matcher matcher = NUMBER.matcher(text.substring(0, Math.min(text.length(), 8192)));
    while (matcher.find()) {
      numbers.add(new int[] {matcher.start(), matcher.end()});
    }
    if (numbers.isEmpty()) {
      return bytes;
    }
    int[] place = numbers.get(random.nextInt(numbers.size()));
    String other = NUMBERS.get(random.nextInt(NUMBERS.size()));
    return (text.substring(0, place[0]) + other + text.substring(place[1]))
        .getBytes(StandardCharsets.ISO_8859_1);
  }

  /** Headers, pickles and a zip's directory lie at a file's beginning and end. */
  private int place(byte[] bytes) {
    int window = Math.min(bytes.length, 4096);
    return switch (random.nextInt(3)) {
      case 0 -> random.nextInt(bytes.length);
      case 1 -> random.nextInt(window);
      default -> bytes.length - 1 - random.nextInt(window);
    };
  }

  /** JSON with one to three values changed, missing, or in another's place. */
  byte[] damagedJson(byte[] whole) throws IOException {
    JsonNode root = JSON.readTree(whole);
    for (int n = 1 + random.nextInt(3); n > 0; n--) {
      damage(somewhere(root));
    }
    return JSON.writeValueAsBytes(root);
  }

  /** A list or object; small ones, which say how the large ones are to be read, more often. */
  private ContainerNode<?> somewhere(JsonNode root) {
    List<ContainerNode<?>> all = new ArrayList<>();
    List<ContainerNode<?>> small = new ArrayList<>();
    collect(root, all, small);
    List<ContainerNode<?>> some = random.nextInt(4) == 0 || small.isEmpty() ? all : small;
    return some.get(random.nextInt(some.size()));
  }

  private static void collect(
      JsonNode node, List<ContainerNode<?>> all, List<ContainerNode<?>> small) {
    if (node instanceof ContainerNode<?> container) {
      all.add(container);
      if (container.size() < 20 && !container.isEmpty()) {
        small.add(container);
      }
      container.forEach(child -> collect(child, all, small));
    }
  }

  private void damage(ContainerNode<?> place) {
    JsonNode value =
        JsonNodeFactory.instance.rawValueNode(
            new RawValue(
                random.nextBoolean()
                    ? NUMBERS.get(random.nextInt(NUMBERS.size() - 3)) // which JSON can say
                    : VALUES.get(random.nextInt(VALUES.size()))));
    boolean keep = random.nextInt(4) > 0;
    switch (place) {
      case ObjectNode object when !object.isEmpty() -> {
        List<String> names = object.propertyStream().map(entry -> entry.getKey()).toList();
        String name = names.get(random.nextInt(names.size()));
        if (!keep) {
          object.remove(name);
        } else if (random.nextInt(4) == 0) { // what another has
          object.set(name, object.get(names.get(random.nextInt(names.size()))).deepCopy());
        } else {
          object.set(name, value);
        }
      }
      case ArrayNode array when !array.isEmpty() -> {
        int at = random.nextInt(array.size());
        if (!keep) {
          array.remove(at);
        } else if (random.nextBoolean()) {
          array.insert(at, array.get(random.nextInt(array.size())).deepCopy());
        } else {
          array.set(at, value);
        }
      }
      case ObjectNode object -> object.set("a", value);
      case ArrayNode array -> array.add(value);
      default -> throw new IllegalStateException();
    }
  }

  private static byte[] join(byte[]... parts) {
    byte[] all = new byte[Arrays.stream(parts).mapToInt(part -> part.length).sum()];
    int at = 0;
    for (byte[] part : parts) {
      System.arraycopy(part, 0, all, at, part.length);
      at += part.length;
    }
    return all;
  }
}
