package org.eellm.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.config.Architecture;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.StageLayout.Slice;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.parameter.ParameterSpec;

/** A model, or a rank's part of one, as decoding needs it: its shape, and where its weights lie. */
public sealed interface DecodingModel extends AutoCloseable permits Decoder, StoredDecoder {

  /** The whole model's shape. */
  Architecture architecture();

  /**
   * Whether exits have no parameters of their own: the final norm and output matrix read the stream
   * there, too.
   */
  boolean logitLens();

  /** The layers that are here, one slice after the other. */
  List<Slice> slices();

  /** The ranks that share this part of the model out between them. */
  TensorParallel parallel();

  /** In what number formats its matrices are to lie in memory. */
  MatrixQuantization quantization();

  /** Its parameters; what acts as one matrix, or one vector, stands in one group. */
  List<List<ParameterSpec>> parameterGroups();

  /** Where a parameter, or this rank's part of it, lies in the memory of the CPU. */
  WeightRows rows(String parameter);

  /** Those that texts may ask for; their factors lie where the model's own {@link #rows} do. */
  default List<Adapter> adapters() {
    return List.of();
  }

  /** All heads of the model, here or on other ranks: of exits in order of depth, then the final. */
  default List<Head> allHeads() {
    return Head.of(architecture());
  }

  Optional<Head> draftHead();

  /** The heads here, in order of depth. */
  default List<Head> headsHere() {
    List<Head> all = allHeads();
    List<Head> here = new ArrayList<>();
    for (Slice slice : slices()) {
      for (int layer : slice.exits()) {
        here.add(all.get(architecture().exits().layers().indexOf(layer)));
      }
      if (slice.hasFinalHead()) {
        here.add(all.getLast());
      }
    }
    return here;
  }

  /** The number of trunk branches before those here, as {@link Head#tap} counts. */
  default int firstBranch() {
    return 2 * slices().getFirst().firstLayer();
  }

  /** The number of trunk branches up to the end of those here. */
  default int endBranch() {
    return firstBranch() + 2 * slices().stream().mapToInt(Slice::layers).sum();
  }

  ModelUsers users();

  /** Frees the memory, when the last of its users has gone; from then on it takes no new ones. */
  @Override
  default void close() {
    users().close();
  }
}
