package org.eellm.convert;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.eellm.checkpoint.safetensors.StoredTensor;

/** Writes what {@code torch.save} writes: dictionaries, lists, namespaces, numbers and tensors. */
final class PickleWriter {
  /** The attributes of an {@code argparse.Namespace}. */
  record Namespace(Map<String, Object> attributes) {}

  private final ByteArrayOutputStream pickle = new ByteArrayOutputStream();
  private final List<byte[]> storages = new ArrayList<>();

  private PickleWriter() {}

  /** Writes a file of a value. */
  static void save(Path path, Object value) throws IOException {
    PickleWriter writer = new PickleWriter();
    writer.pickle.writeBytes(new byte[] {(byte) 0x80, 2});
    writer.put(value);
    writer.pickle.write('.');
    Files.createDirectories(path.getParent());
    try (OutputStream out = Files.newOutputStream(path);
        ZipOutputStream zip = new ZipOutputStream(out)) {
      entry(zip, "model_optim_rng/data.pkl", writer.pickle.toByteArray());
      entry(zip, "model_optim_rng/byteorder", "little".getBytes(StandardCharsets.US_ASCII));
      for (int i = 0; i < writer.storages.size(); i++) {
        entry(zip, "model_optim_rng/data/" + i, writer.storages.get(i));
      }
      entry(zip, "model_optim_rng/version", "3\n".getBytes(StandardCharsets.US_ASCII));
    }
  }

  private static void entry(ZipOutputStream zip, String name, byte[] content) throws IOException {
    ZipEntry entry = new ZipEntry(name);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(content.length);
    CRC32 crc = new CRC32();
    crc.update(content);
    entry.setCrc(crc.getValue());
    zip.putNextEntry(entry);
    zip.write(content);
    zip.closeEntry();
  }

  private void put(Object value) {
    switch (value) {
      case Boolean bool -> pickle.write(bool ? 0x88 : 0x89);
      case Integer number -> {
        pickle.write('J');
        int32(number);
      }
      case Long number -> put(Math.toIntExact(number));
      case Double number -> {
        pickle.write('G');
        pickle.writeBytes(ByteBuffer.allocate(8).putDouble(number).array());
      }
      case String text -> {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        pickle.write('X');
        int32(bytes.length);
        pickle.writeBytes(bytes);
      }
      case List<?> list -> {
        pickle.write(']');
        for (Object element : list) {
          put(element);
          pickle.write('a');
        }
      }
      case Map<?, ?> map -> {
        pickle.writeBytes(new byte[] {'}', '('});
        map.forEach(
            (key, element) -> {
              put(key);
              put(element);
            });
        pickle.write('u');
      }
      case Namespace(Map<String, Object> attributes) -> {
        global("argparse", "Namespace");
        pickle.writeBytes(new byte[] {')', (byte) 0x81});
        put(attributes);
        pickle.write('b');
      }
      case StoredTensor tensor -> tensor(tensor);
      default -> throw new IllegalArgumentException(value.toString());
    }
  }

  private void tensor(StoredTensor tensor) {
    String type =
        switch (tensor.type()) {
          case F32 -> "FloatStorage";
          case F16 -> "HalfStorage";
          case BF16 -> "BFloat16Storage";
          default -> throw new IllegalArgumentException(tensor.type().name());
        };
    byte[] bytes = tensor.bytes().toArray(ValueLayout.JAVA_BYTE);
    int width = tensor.type().bits() / 8;
    global("torch._utils", "_rebuild_tensor_v2");
    pickle.writeBytes(new byte[] {'(', '('});
    put("storage");
    global("torch", type);
    put(String.valueOf(storages.size()));
    put("cuda:0");
    put(bytes.length / width);
    pickle.writeBytes(new byte[] {'t', 'Q'});
    put(0);
    tuple(tensor.shape());
    List<Long> strides = new ArrayList<>();
    long stride = 1;
    for (long length : tensor.shape().reversed()) {
      strides.addFirst(stride);
      stride *= length;
    }
    tuple(strides);
    put(false);
    global("collections", "OrderedDict");
    pickle.writeBytes(new byte[] {')', 'R', 't', 'R'});
    storages.add(bytes);
  }

  private void tuple(List<Long> numbers) {
    pickle.write('(');
    numbers.forEach(this::put);
    pickle.write('t');
  }

  private void global(String module, String name) {
    pickle.writeBytes(("c" + module + "\n" + name + "\n").getBytes(StandardCharsets.US_ASCII));
  }

  private void int32(int value) {
    pickle.writeBytes(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
  }
}
