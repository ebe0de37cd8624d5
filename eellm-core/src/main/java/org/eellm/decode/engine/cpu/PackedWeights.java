package org.eellm.decode.engine.cpu;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.config.ModelConfig;
import org.eellm.config.Quantization;
import org.eellm.config.StageLayout.Slice;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.MatrixPacker;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.model.StoredDecoder.PackedForm;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterSpec;

/**
 * A model's weights as kernels read them: matrices packed, one after another in one memory; vectors
 * in float32; rows of embeddings as they were, or in the format that the model computes in.
 *
 * @param memory of matrices and embeddings
 * @param matrixBytes of all matrices, from the memory's beginning
 * @param matrices by the name of the first parameter that stands in them
 * @param vectors likewise
 * @param tokens the embedding, where it is here
 * @param positions of learned positions
 * @param adapters what they change
 */
record PackedWeights(
    NativeBuffer memory,
    long matrixBytes,
    Map<String, PackedMatrix> matrices,
    Map<String, FloatArray> vectors,
    Optional<EmbeddingTable> tokens,
    Optional<EmbeddingTable> positions,
    KernelAdapters.Packed adapters)
    implements PackedForm {
  private static final String TOKENS = ParameterName.TOKENS.toString();
  private static final String POSITIONS = ParameterName.POSITIONS.toString();
  private static final String OUTPUT = ParameterName.OUTPUT.toString();
  private static final String GATE = ".gate_proj.weight";

  /** A matrix that is going to be packed, or an embedding that is going to be copied. */
  private record Item(String name, MatrixPacker packer, long offset) {}

  static PackedWeights of(DecodingModel model, ThreadTeam team) {
    WeightFormat layers = format(model, model.quantization().layers());
    WeightFormat heads = format(model, model.quantization().heads());
    List<Item> matrices = new ArrayList<>();
    Map<String, WeightRows> tables = new LinkedHashMap<>();
    Map<String, FloatArray> vectors = new LinkedHashMap<>();
    String output = outputMatrix(model);
    boolean hasEmbedding = model.slices().stream().anyMatch(Slice::hasEmbedding);
    boolean shares = model.headsHere().stream().anyMatch(head -> sharesOutput(head, model));
    long bytes = 0;
    for (List<ParameterSpec> group : model.parameterGroups()) {
      String name = group.getFirst().name();
      List<WeightRows> rows = group.stream().map(spec -> model.rows(spec.name())).toList();
      if (group.getFirst().shape().size() == 1) {
        vectors.put(name, joined(rows));
        continue;
      }
      boolean table = name.equals(TOKENS) || name.equals(POSITIONS);
      boolean multiplied = !table || (name.equals(output) && shares);
      WeightFormat format =
          ParameterName.isRouter(name)
              ? WeightFormat.FLOAT32
              : name.equals(TOKENS) || name.endsWith(OUTPUT) ? heads : layers;
      if (table && hasEmbedding && !(multiplied && EmbeddingTable.isIn(format, rows.getFirst()))) {
        tables.put(name, rows.getFirst());
      }
      if (multiplied) {
        MatrixPacker packer = packer(name, format, rows);
        matrices.add(new Item(name, packer, bytes));
        bytes += packer.bytes();
      }
    }
    long matrixBytes = bytes;
    WeightFormat plain = plain(model.architecture().model());
    for (WeightRows table : tables.values()) {
      bytes += EmbeddingTable.bytes(table, plain);
    }
    NativeBuffer memory = NativeBuffer.allocate(bytes);
    Map<String, PackedMatrix> packed = new LinkedHashMap<>();
    for (Item item : matrices) {
      packed.put(item.name(), item.packer().pack(memory.address() + item.offset(), team));
    }
    Map<String, EmbeddingTable> copied = new LinkedHashMap<>();
    long at = memory.address() + matrixBytes;
    for (Map.Entry<String, WeightRows> table : tables.entrySet()) {
      int rank = table.getKey().equals(TOKENS) ? model.parallel().rank() : 0;
      copied.put(table.getKey(), EmbeddingTable.copy(table.getValue(), rank, plain, at, team));
      at += EmbeddingTable.bytes(table.getValue(), plain);
    }
    Optional<PackedMatrix> shared =
        hasEmbedding ? Optional.ofNullable(packed.get(TOKENS)) : Optional.empty();
    return new PackedWeights(
        memory,
        matrixBytes,
        packed,
        vectors,
        Optional.ofNullable(copied.get(TOKENS))
            .or(() -> shared.map(of -> EmbeddingTable.of(of, model.parallel().rank()))),
        Optional.ofNullable(copied.get(POSITIONS)),
        KernelAdapters.Packed.of(model, packed, team));
  }

  /** Lays out maps that stand in one matrix, by the name of the first. */
  static MatrixPacker packer(String name, WeightFormat format, List<WeightRows> rows) {
    return name.endsWith(GATE)
        ? MatrixPacker.interleaved(format, rows)
        : MatrixPacker.stacked(format, rows);
  }

  static WeightFormat format(DecodingModel model, Quantization quantization) {
    return switch (quantization) {
      case NONE -> plain(model.architecture().model());
      case INT8 -> WeightFormat.INT8;
      case INT4 -> WeightFormat.INT4;
    };
  }

  static WeightFormat cache(DecodingModel model) {
    return format(model, model.quantization().cache());
  }

  static WeightFormat plain(ModelConfig model) {
    return switch (model.dtype()) {
      case FLOAT32 -> WeightFormat.FLOAT32;
      case BFLOAT16 -> WeightFormat.BFLOAT16;
    };
  }

  /** The matrix that the final head, and exits that share it, multiply with. */
  static String outputMatrix(DecodingModel model) {
    return model.architecture().model().tieEmbeddings() ? TOKENS : OUTPUT;
  }

  private static boolean sharesOutput(Head head, DecodingModel model) {
    return !head.isExit() || model.logitLens() || model.architecture().exits().tieOutput();
  }

  private static FloatArray joined(List<WeightRows> rows) {
    float[] all = new float[rows.stream().mapToInt(WeightRows::columns).sum()];
    int at = 0;
    for (WeightRows piece : rows) {
      float[] values = piece.floats();
      System.arraycopy(values, 0, all, at, values.length);
      at += values.length;
    }
    return FloatArray.of(all);
  }

  PackedMatrix matrix(String firstName) {
    PackedMatrix found = matrices.get(firstName);
    if (found == null) {
      throw new IllegalArgumentException("no matrix begins with " + firstName);
    }
    return found;
  }

  /** A matrix's rows one by one: the embedding's, which lie together, where it is that matrix. */
  EmbeddingTable rows(String matrix) {
    return tokens
        .filter(_ -> matrix.equals(TOKENS))
        .orElseGet(() -> EmbeddingTable.of(matrix(matrix), 0));
  }

  Optional<FloatArray> optionalVector(String firstName) {
    return Optional.ofNullable(vectors.get(firstName));
  }

  FloatArray vector(String firstName) {
    return optionalVector(firstName)
        .orElseThrow(() -> new IllegalArgumentException("no vector begins with " + firstName));
  }

  @Override
  public void close() {
    memory.close();
    adapters.close();
  }
}
