package org.eellm.checkpoint.huggingface;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.IntUnaryOperator;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.huggingface.family.Family.TensorNames;
import org.eellm.checkpoint.huggingface.family.Place;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.gguf.GgufRows;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterSpec;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** The tensors of a model as its family's files have them, and the parameters that they are. */
public final class StoredLayout {
  /** Tables that other tools store along; they follow from the configuration. */
  private static final Pattern DERIVED =
      Pattern.compile(
          ".*\\.(rotary_emb\\.inv_freq|attn\\.bias|attn\\.masked_bias|attention\\.bias|attention\\.masked_bias)|blk\\.\\d+\\.attn_rot_embd");

  private static final Pattern OUTPUT_OF_EXIT = Pattern.compile("exits\\.\\d+\\.lm_head\\.weight");

  private final TensorNames names;
  private final ModelConfig model;
  private final ExitLayout exits;
  private final SequencedMap<String, List<Part>> tensors = new LinkedHashMap<>();

  /** A parameter in a tensor. */
  private record Part(ParameterSpec parameter, Place place) {
    int rows() {
      return Math.toIntExact(parameter.shape().getFirst());
    }

    int columns() {
      return parameter.shape().size() == 1 ? 1 : Math.toIntExact(parameter.shape().getLast());
    }

    /** Whether its rows lie one behind the other. */
    boolean isRange() {
      IntUnaryOperator row = place.row();
      int first = row.applyAsInt(0);
      for (int i = 1; i < rows(); i++) {
        if (row.applyAsInt(i) != first + i) {
          return false;
        }
      }
      return !place.transposed();
    }
  }

  public StoredLayout(TensorNames names, Architecture architecture) {
    this.names = names;
    model = architecture.model();
    exits = architecture.exits();
    for (ParameterSpec spec : ParameterSpec.of(new Architecture(model, ExitLayout.none()))) {
      Place place = names.place(ParameterName.parse(spec.name()), model);
      tensors.computeIfAbsent(place.tensor(), _ -> new ArrayList<>()).add(new Part(spec, place));
    }
  }

  private List<Long> shape(String tensor, List<Part> parts) {
    long rows = parts.stream().mapToLong(part -> part.parameter().shape().getFirst()).sum();
    Part first = parts.getFirst();
    if (first.parameter().shape().size() == 1) {
      return List.of(rows);
    }
    long columns = first.parameter().shape().getLast();
    if (names.isStacked(tensor)) {
      return List.of((long) parts.size(), rows / parts.size(), columns);
    }
    return first.place().transposed() ? List.of(columns, rows) : List.of(rows, columns);
  }

  /**
   * The parameters in a folder's tensors, and its exits, which have our names; in the order of the
   * tensors, in which a cold disk reads them from front to back.
   *
   * @throws CheckpointException if a tensor is missing, of another shape or surplus
   */
  public SequencedMap<String, Origin> parameters(Path folder, Map<String, StoredTensor> stored) {
    Map<String, StoredTensor> relevant = new LinkedHashMap<>(stored);
    relevant.keySet().removeIf(names::leftOut);
    OriginTable table = new OriginTable(folder, relevant, DERIVED);
    String prefix = prefix(stored);
    Map<String, List<Part>> found = new HashMap<>();
    tensors.forEach(
        (name, parts) -> {
          String actual = actual(name, prefix);
          table.take(actual, shape(name, parts));
          found.put(actual, parts);
        });
    ParameterName shared = model.tieEmbeddings() ? ParameterName.TOKENS : ParameterName.OUTPUT;
    String output = actual(tensor(shared), prefix);
    if (exits.tieOutput()) {
      stored.keySet().stream()
          .filter(name -> OUTPUT_OF_EXIT.matcher(name).matches())
          .forEach(name -> table.dropIfEqual(name, output));
    }
    Set<String> heads = table.takeAll(HeadFiles.PREFIX);
    if (model.tieEmbeddings()) {
      table.dropEqual(output);
    }
    table.requireAllTaken();
    SequencedMap<String, Origin> parameters = new LinkedHashMap<>();
    stored.forEach(
        (name, tensor) -> {
          Origin whole = new Origin(name, tensor);
          if (heads.contains(name)) {
            parameters.put(name, whole);
          }
          List<Part> parts = found.getOrDefault(name, List.of());
          parts.forEach(
              part ->
                  parameters.put(part.parameter().name(), whole.with(part(tensor, part, parts))));
        });
    return parameters;
  }

  private String tensor(ParameterName parameter) {
    return names.place(parameter, model).tensor();
  }

  /** The beginning of names in these files in place of the usual one. */
  private String prefix(Map<String, StoredTensor> stored) {
    List<String> prefixes = names.prefixes();
    String embedding = tensor(ParameterName.TOKENS);
    String usual = prefixes.isEmpty() ? "" : prefixes.getFirst();
    return prefixes.stream()
        .filter(other -> stored.containsKey(other + embedding.substring(usual.length())))
        .findFirst()
        .orElse(usual);
  }

  private String actual(String name, String prefix) {
    List<String> prefixes = names.prefixes();
    return prefixes.isEmpty() || !name.startsWith(prefixes.getFirst())
        ? name
        : prefix + name.substring(prefixes.getFirst().length());
  }

  private static StoredTensor part(StoredTensor whole, Part part, List<Part> all) {
    List<Long> shape = part.parameter().shape();
    if (whole.shape().equals(shape) && part.isRange()) {
      return whole;
    }
    if (whole.content() instanceof StoredTensor.Rows(GgufRows rows)) {
      return new StoredTensor(
          whole.type(),
          shape,
          new StoredTensor.Rows(
              new GgufRows(
                  rows.type(), part.rows(), part.columns(), rows.bytes(), part.place().row())));
    }
    MemorySegment bytes = whole.bytes();
    int width = whole.type().bits() / 8;
    if (part.isRange()) {
      long row = (long) part.columns() * width;
      return new StoredTensor(
          whole.type(),
          shape,
          bytes.asSlice(part.place().row().applyAsInt(0) * row, part.rows() * row));
    }
    int allRows = all.stream().mapToInt(Part::rows).sum();
    boolean transposed = part.place().transposed();
    return new StoredTensor(
        whole.type(),
        shape,
        new StoredTensor.Arranged(
            bytes,
            part.rows(),
            part.columns(),
            new StoredTensor.Strides(
                transposed ? 1 : part.columns(), transposed ? allRows : 1, width),
            part.place().row()));
  }

  /** The tensors that files of the family keep these parameters in; exits' stay as they are. */
  public List<ModelTensor> tensors(List<ModelTensor> parameters) {
    if (names.equals(TensorNames.OURS)) {
      return parameters;
    }
    Map<String, ModelTensor> byName =
        parameters.stream().collect(Collectors.toMap(ModelTensor::name, parameter -> parameter));
    List<ModelTensor> stored = new ArrayList<>();
    tensors.forEach(
        (name, parts) -> {
          List<ModelTensor> own = new ArrayList<>();
          for (Part part : parts) {
            own.add(byName.remove(part.parameter().name()));
          }
          stored.add(
              parts.size() == 1 && parts.getFirst().isRange()
                  ? own.getFirst().named(name)
                  : joined(name, own, parts));
        });
    parameters.stream().filter(left -> byName.containsKey(left.name())).forEach(stored::add);
    return stored;
  }

  private ModelTensor joined(String name, List<ModelTensor> parameters, List<Part> parts) {
    List<Long> shape = shape(name, parts);
    long[] sizes = shape.stream().mapToLong(Long::longValue).toArray();
    return ModelTensor.combined(name, shape, parameters, all -> joined(all, parts).reshape(sizes));
  }

  private static Tensor joined(List<Tensor> parameters, List<Part> parts) {
    Tensor rows = Tensors.concatenate(parameters);
    long[] order = new long[Math.toIntExact(rows.size(0))]; // our row for each of the file's
    int first = 0;
    for (Part part : parts) {
      for (int row = 0; row < part.rows(); row++) {
        order[part.place().row().applyAsInt(row)] = first + row;
      }
      first += part.rows();
    }
    Tensor ordered = rows.index_select(0, Tensors.ofLongs(order, Torch.cpu(), order.length));
    return parts.getFirst().place().transposed() ? ordered.t() : ordered;
  }
}
