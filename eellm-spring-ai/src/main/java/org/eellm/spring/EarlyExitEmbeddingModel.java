package org.eellm.spring;

import java.util.List;
import java.util.stream.IntStream;
import org.eellm.EarlyExitModel;
import org.eellm.Pooling;
import org.springframework.ai.document.Document;
import org.springframework.ai.embedding.Embedding;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.ai.embedding.EmbeddingRequest;
import org.springframework.ai.embedding.EmbeddingResponse;

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
  public EmbeddingResponse call(EmbeddingRequest request) {
    List<float[]> vectors = model.embeddings(request.getInstructions(), layer, pooling);
    return new EmbeddingResponse(
        IntStream.range(0, vectors.size())
            .mapToObj(i -> new Embedding(vectors.get(i), i))
            .toList());
  }

  @Override
  public float[] embed(Document document) {
    String text = document.getText();
    if (text == null) {
      throw new UnsupportedOperationException(
          "eellm does not support documents of other contents than a text; leave them out");
    }
    return embed(text);
  }

  @Override
  public int dimensions() {
    return model.hiddenSize();
  }
}
