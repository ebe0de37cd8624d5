package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;
import org.eellm.checkpoint.huggingface.family.Field.Word;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfigBuilder;

/**
 * Which layers see a window: {@code sliding_window} and, where the family lists its layers, {@code
 * layer_types}.
 *
 * @param pattern of layers where none are listed
 * @param listed whether the family lists layers
 * @param slidingTheta base of the sliding layers' frequencies, which are not scaled; 0 if they are
 *     as all others
 */
record LayersField(Pattern pattern, boolean listed, ToDoubleFunction<JsonFields> slidingTheta)
    implements Field {
  static final String TYPES = "layer_types";
  private static final String WINDOW = "sliding_window";
  private static final List<Word<LayerType>> WORDS =
      List.of(
          new Word<>("full_attention", LayerType.FULL),
          new Word<>("sliding_attention", LayerType.SLIDING));

  /** Tells which layers are sliding. */
  @FunctionalInterface
  interface Pattern {
    boolean slides(JsonFields from, int layer);
  }

  /** Of a family whose layers all have one base of frequencies. */
  LayersField(Pattern pattern, boolean listed) {
    this(pattern, listed, from -> 0);
  }

  @Override
  public void read(JsonFields from, ModelConfigBuilder into) {
    int count = CommonFields.layers(from);
    int window = from.has(WINDOW) ? from.positive(WINDOW) : 0;
    List<LayerType> types = new ArrayList<>();
    if (listed && from.has(TYPES)) {
      types.addAll(Field.readAll(from, TYPES, WORDS));
      if (types.size() != count) {
        throw new CheckpointException(
            "%s: layer_types: %d types are there for %d layers; give as many"
                .formatted(from.place(), types.size(), count));
      }
    } else {
      for (int i = 0; i < count; i++) {
        types.add(window > 0 && pattern.slides(from, i) ? LayerType.SLIDING : LayerType.FULL);
      }
    }
    double own = types.contains(LayerType.SLIDING) ? slidingTheta.applyAsDouble(from) : 0;
    boolean seesAll = own == 0 && window >= CommonFields.maxPositions(from);
    if (seesAll || !types.contains(LayerType.SLIDING)) {
      into.layerTypes(List.of(LayerType.FULL));
    } else {
      into.layerTypes(shortest(types)).slidingWindow(window).slidingRopeTheta(own);
    }
  }

  /** The shortest pattern that gives these types when it repeats. */
  static List<LayerType> shortest(List<LayerType> types) {
    int length = 1;
    while (!repeats(types, length)) {
      length++;
    }
    return List.copyOf(types.subList(0, length));
  }

  private static boolean repeats(List<LayerType> types, int length) {
    for (int i = length; i < types.size(); i++) {
      if (types.get(i) != types.get(i - length)) {
        return false;
      }
    }
    return true;
  }

  @Override
  public void write(ModelConfig from, ObjectNode into) {
    if (from.slidingWindow() == 0) {
      into.putNull(WINDOW);
    } else {
      into.put(WINDOW, from.slidingWindow());
    }
    if (listed) {
      Field.writeAll(into, TYPES, from.eachLayerType(), WORDS);
    }
  }

  /** A base of sliding layers' own, in a field of its own in older files. */
  static Field slidingTheta(String name, Pattern pattern, double otherwise) {
    LayersField layers =
        new LayersField(
            pattern,
            true,
            from -> RopeField.slidingTheta(from).orElseGet(() -> from.number(name, otherwise)));
    return Field.of(
        layers::read,
        (from, into) -> {
          layers.write(from, into);
          if (from.slidingRopeTheta() > 0) {
            into.put(name, from.slidingRopeTheta());
          }
        });
  }

  /** The base of all layers, in sliding ones without the scaling that the others have. */
  static Field unscaled(Pattern pattern, RopeField rope) {
    return new LayersField(
        pattern,
        true,
        from -> {
          double all = rope.theta(from);
          double own = RopeField.slidingTheta(from).orElse(all);
          return own == all && !rope.isScaled(from) ? 0 : own;
        });
  }
}
