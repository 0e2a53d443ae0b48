/* layer_kinds.h - every kind of layer there is, for the table in layer.c (floor: nn, private to it). */
#ifndef DL_NN_LAYER_KINDS_H
#define DL_NN_LAYER_KINDS_H

#include "nn/layer.h"

extern const dl_layer_kind dl_layer_dense;
extern const dl_layer_kind dl_layer_relu, dl_layer_sigmoid, dl_layer_tanh, dl_layer_softmax;
extern const dl_layer_kind dl_layer_dropout;
extern const dl_layer_kind dl_layer_conv2d, dl_layer_conv2d_transpose, dl_layer_batchnorm, dl_layer_upsample2d;
extern const dl_layer_kind dl_layer_maxpool2d, dl_layer_avgpool2d, dl_layer_global_avgpool2d;
extern const dl_layer_kind dl_layer_flatten;
extern const dl_layer_kind dl_layer_add, dl_layer_concat, dl_layer_residual;
extern const dl_layer_kind dl_layer_leaky_relu, dl_layer_elu, dl_layer_gelu, dl_layer_silu, dl_layer_softplus;
extern const dl_layer_kind dl_layer_layernorm, dl_layer_embedding, dl_layer_positional_embedding, dl_layer_reshape;
extern const dl_layer_kind dl_layer_rnn, dl_layer_lstm, dl_layer_gru, dl_layer_attention;

#endif
