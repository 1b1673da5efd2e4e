"""One method for each route: what a request asks is read, handed to what answers, and put into a response.

How an answer is made is decided in `answers` and `engine`; who may ask, in `guard`.
"""
