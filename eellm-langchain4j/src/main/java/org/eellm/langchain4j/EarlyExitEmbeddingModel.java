package org.eellm.langchain4j;

import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.output.Response;
import java.util.List;
import org.eellm.EarlyExitModel;
import org.eellm.Pooling;

/**
 * Embeddings of texts: the hidden states of a model after a layer, put together and scaled to
 * length 1. The layers above do not run, so an early layer is cheap.
 */
public final class EarlyExitEmbeddingModel implements EmbeddingModel {
  private final EarlyExitModel model;
  private final int layer;
  private final Pooling pooling;

  /**
   * @param model borrowed; nothing here closes it
   * @param layer from 1 to {@link EarlyExitModel#layers}
   */
  public EarlyExitEmbeddingModel(EarlyExitModel model, int layer, Pooling pooling) {
    if (layer < 1 || layer > model.layers()) {
      throw new IllegalArgumentException(
          "layer %d is outside the model's layers; use 1 to %d".formatted(layer, model.layers()));
    }
    this.model = model;
    this.layer = layer;
    this.pooling = pooling;
  }

  @Override
  public Response<List<Embedding>> embedAll(List<TextSegment> segments) {
    List<String> texts = segments.stream().map(TextSegment::text).toList();
    return Response.from(
        model.embeddings(texts, layer, pooling).stream().map(Embedding::from).toList());
  }

  @Override
  public int dimension() {
    return model.hiddenSize();
  }
}
